"""``python -m worker.tracking FOLDER --token-file FILE --run-id ID --parent PID`` serves one attempt.

It ends on SIGTERM, or when the thread that started it does.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from core.logs import configure_logs
from core.run_dir import read_model, write_atomically
from worker.processes import die_with_parent
from worker.tracking.artifacts import ArtifactFolder
from worker.tracking.carrying import carry
from worker.tracking.folder import PortFile, TrackingFolder
from worker.tracking.server import TrackingServer
from worker.tracking.tracker import Tracker


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)  # before the first thread, so that only sigwait sees them
    die_with_parent(signal.SIGTERM, options.parent)
    configure_logs("INFO")
    token = options.token_file.read_text().strip()
    if not token:
        print(f"{options.token_file} is empty", file=sys.stderr)
        return 2
    folder = TrackingFolder(options.folder)
    folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if options.carry_from is not None:
        carry(TrackingFolder(options.carry_from), folder)
    tracker = Tracker(folder, run_id=options.run_id, experiment=options.experiment)
    artifacts = ArtifactFolder(folder, max_bytes=options.max_artifact_bytes)
    server = listen(tracker, artifacts, token)
    threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
    write_atomically(folder.port, PortFile(port=server.server_port, pid=os.getpid()), durable=False)
    signal.sigwait(ending)
    server.shutdown()
    server.reports.close()
    tracker.close()
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.tracking", description="Serves MLflow's tracking calls of one attempt.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--token-file", type=Path, required=True, help="its content is the bearer token; only its owner may read it")
    parser.add_argument("--run-id", required=True, help="the id of the job's own run")
    parser.add_argument("--experiment", default="Default", help="the name of the experiment")
    parser.add_argument("--parent", type=int, required=True, help="the process that this one must not outlive")
    parser.add_argument("--carry-from", type=Path, help="the tracking folder of the attempt before")
    parser.add_argument("--max-artifact-bytes", type=int, default=32 << 30)
    return parser.parse_args(arguments)


def listen(tracker: Tracker, artifacts: ArtifactFolder, token: str) -> TrackingServer:
    """At the port of the server before, which the script knows; at another when that is taken or there was none."""
    try:
        before = read_model(tracker.folder.port, PortFile)
    except ValueError:
        before = None
    try:
        return TrackingServer(tracker, artifacts, token=token, port=before.port if before else 0)
    except OSError:
        return TrackingServer(tracker, artifacts, token=token)


if __name__ == "__main__":
    sys.exit(main())
