"""``python -m trainyard.quickstart`` (``make quickstart``): from nothing to a checked model, and then everything is stopped.

It uses the public parts alone: ``trainyard up``, the client, and a plain Python for the model that comes out.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from core.states import JobState
from core.wire.jobs import Job
from core.wire.worker import Worker
from trainyard.cli.session import console
from trainyard.cli.watching import watch_job
from trainyard.cli.words import duration, size
from trainyard.client import Client
from trainyard.errors import ClientError, DownloadFailed
from trainyard.settings import inherited_environment
from trainyard.specs import read_spec
from trainyard.up.errors import ToolFailed, UpError
from trainyard.up.folder import StateFolder
from trainyard.up.process import Command, Process, log_tail, run_tool

HOME = Path(".trainyard/quickstart")
SPEC = Path(__file__).parents[1] / "examples" / "digits.json"
START_SECONDS = 180.0
STOP_SECONDS = 120.0
LEAST_ACCURACY = 0.98
NUM_RANKS_ON_CPU = 2

# Runs with -I: neither this folder nor PYTHONPATH is on its path. Proves that a model needs torch and nothing of ours.
PREDICT = """
import csv, json, sys
import torch
from sklearn.datasets import load_digits
model = torch.export.load(sys.argv[1] + "/model.pt2").module()
with open(sys.argv[1] + "/predictions.csv") as file:
    rows = [int(line["row"]) for line in csv.DictReader(file)]
digits = load_digits()
predicted = model(torch.from_numpy(digits.images[rows].astype("uint8"))).argmax(1).numpy()
ours = [name for name in ("api", "core", "trainer", "trainyard", "worker") if name in sys.modules]
right = int((predicted == digits.target[rows]).sum())
print(json.dumps({"num_images": len(rows), "num_right": right, "ours": ours}))
"""


def main() -> int:
    out = console()
    folder = StateFolder(HOME.absolute())
    started_at = time.monotonic()
    out.print(
        "Quickstart: starts Trainyard on this machine, trains a small residual network on 1,797 handwritten digits,\n"
        f"downloads the model, checks it in a plain Python, and stops again. Nothing is sent anywhere. State: {folder.root}\n"
    )
    try:
        with running_service(folder, out) as client:
            job = train(client, out)
            model = folder.root / "model"
            download(client, job, model, out)
            check(model, folder, out)
    except ClientError as error:
        out.print(f"\nThe quickstart failed: {error}\nLogs: {folder.root / 'logs'}. 'trainyard doctor' looks at this machine.", style="red")
        return 1
    except KeyboardInterrupt:
        out.print("\ninterrupted; everything was stopped")
        return 130
    out.print(f"\nDone in {duration(time.monotonic() - started_at)}. By hand: 'trainyard up', and the README from there.")
    return 0


@contextmanager
def running_service(folder: StateFolder, out: Console) -> Iterator[Client]:
    """``trainyard up`` as a process of its own, with a worker online; it is stopped at the end of the block."""
    folder.prepare()
    folder.log("up").unlink(missing_ok=True)
    argv = (sys.executable, "-m", "trainyard", "up", "--home", str(folder.root), "--port", "0")
    up = Process(Command(name="up", argv=argv, environment=inherited_environment(), log=folder.log("up")))
    try:
        out.print("1. starting Redis, the API and a node, each a process of its own")
        wait_for(up, folder)
        with Client(home=folder.root) as client:
            out.print(f"   serving {client.url}")
            yield client
    finally:
        up.stop(STOP_SECONDS)


def wait_for(up: Process, folder: StateFolder) -> None:
    end = time.monotonic() + START_SECONDS
    while not folder.is_ready(up.pid):
        if up.exit_code is not None or time.monotonic() > end:
            raise UpError(f"the service did not start:\n{log_tail(up.command.log)}")
        time.sleep(0.05)


def train(client: Client, out: Console) -> Job:
    """The finished job."""
    workers = [worker for worker in client.workers() if worker.state == "online"]
    spec = fitting_spec(workers)
    resources = spec["resources"]
    kind = "GPUs" if resources["accelerator"] == "cuda" else "CPU slots"
    out.print(f"2. submitting {SPEC.relative_to(SPEC.parents[1])} for {resources['devices_per_node']} ranks on {kind}")
    job = watch_job(client, client.submit(spec).id, out)
    if job.state is not JobState.SUCCEEDED:
        why = f"{job.failure.reason.value}: {job.failure.message}" if job.failure else job.state.value
        raise ClientError(f"the job did not succeed: {why}")
    return job


def fitting_spec(workers: list[Worker]) -> dict[str, Any]:
    """The example on all GPUs of a node that has some, else on two CPU slots."""
    gpus = [len(worker.devices) for worker in workers if worker.accelerator == "cuda"]
    resources = (
        {"devices_per_node": max(gpus), "accelerator": "cuda"} if gpus else {"devices_per_node": NUM_RANKS_ON_CPU, "accelerator": "cpu"}
    )
    return {**read_spec(SPEC), "resources": resources}


def download(client: Client, job: Job, model: Path, out: Console) -> None:
    out.print(f"3. downloading to {model}")
    paths = client.download(job.id, model)
    total = sum(path.stat().st_size for path in paths)
    out.print(f"   {len(paths)} files, {size(total)}, each with the SHA-256 that the server announced")


def check(model: Path, folder: StateFolder, out: Console) -> None:
    """Loads the model in a process that knows nothing of Trainyard, and counts its right answers on images it was not trained on."""
    out.print("4. loading model.pt2 in a plain Python process (torch.export.load), without Trainyard's code")
    argv = (sys.executable, "-I", "-c", PREDICT, str(model))
    try:
        answer = json.loads(run_tool(Command(name="predict", argv=argv, environment=inherited_environment(), log=folder.log("predict"))))
    except ToolFailed as error:
        raise DownloadFailed(f"the downloaded model could not be used: {error}") from None
    if answer["ours"]:
        raise DownloadFailed(f"the plain process has loaded {', '.join(answer['ours'])}")
    accuracy = answer["num_right"] / answer["num_images"]
    out.print(f"   {answer['num_right']} of {answer['num_images']} held-out images are right: test accuracy {accuracy:.1%}", style="bold")
    if accuracy < LEAST_ACCURACY:
        raise DownloadFailed(
            f"that is below {LEAST_ACCURACY:.0%}, which this spec reaches elsewhere; {model} holds the model and its metrics"
        )


if __name__ == "__main__":
    sys.exit(main())
