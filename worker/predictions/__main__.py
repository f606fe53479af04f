"""``python -m worker.predictions``: lets models be tried out on this node; the node's parent starts it."""

import os
import signal
import sys
import threading
from socket import gethostname

from core.logs import configure_logs
from core.settings import SettingsError, WorkerSettings, forget_our_environment
from worker.node_dir import NodeDir
from worker.predictions.api import PredictionsApi
from worker.predictions.host import Host, HostFacts
from worker.predictions.memory import memory_of_a_model
from worker.processes import die_with_parent, hide_memory

NICE = 5  # jobs go first


def main() -> int:
    """Until SIGTERM; exit code 2 for wrong settings."""
    die_with_parent(signal.SIGKILL, os.getppid())
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        settings = WorkerSettings.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    environ = forget_our_environment()
    hide_memory()
    os.nice(NICE)
    configure_logs(settings.log_level)
    node_dir = NodeDir.create(settings.work_dir)
    facts = HostFacts(
        url=settings.api_url,
        node=settings.node_name or gethostname(),
        cache=node_dir.cache,
        home=node_dir.predictions,
        environ=environ,
        max_loaded=settings.predictors,
        idle_seconds=settings.predictor_idle_seconds,
        max_bytes=memory_of_a_model(settings),
    )
    host = Host(PredictionsApi(settings.api_url, settings.worker_token.get_secret_value()), facts)
    threading.Thread(target=host.run, name="predictions", daemon=True).start()
    stopped.wait()
    # A claim that waits at the API is not waited for. The models' processes end with us: the kernel sees to that.
    return 0


if __name__ == "__main__":
    sys.exit(main())
