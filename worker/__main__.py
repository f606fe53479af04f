"""``python -m worker`` runs a node: the Celery worker and the launch pad as processes of their own, and this parent of both."""

import argparse
import os
import signal
import sys

from core.logs import configure_logs
from core.settings import SettingsError, WorkerSettings
from worker.node_parent import AlreadyRunning, NodeParent
from worker.processes import die_with_parent


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 drained or left, 1 something is left behind, 2 wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m worker", description="Runs a node of Trainyard.")
    parser.add_argument("part", nargs="?", choices=["celery"], help="run only this part, as the parent does")
    parser.add_argument(
        "--on-term", choices=["drain", "leave"], default="drain", help="on SIGTERM: give running jobs back first, or let them run on"
    )
    options = parser.parse_args(arguments)
    return celery() if options.part == "celery" else node(drains=options.on_term == "drain")


def node(*, drains: bool) -> int:
    try:
        settings = WorkerSettings.from_environment()
        configure_logs(settings.log_level)
        return NodeParent(settings, environ=dict(os.environ), drains=drains).run()
    except (SettingsError, LookupError) as error:
        print(error, file=sys.stderr)
        return 2
    except AlreadyRunning as error:
        print(f"trainyard worker: {error}", file=sys.stderr)
        return 1


def celery() -> int:
    die_with_parent(signal.SIGTERM, os.getppid())
    # why: the parent itself stays small, without Celery
    from worker.app import node_application  # noqa: PLC0415

    node_application().worker_main(["worker", "--without-gossip", "--without-mingle", "--without-heartbeat"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
