"""From POST to the first optimiser step on two ranks: warm, cold, and plain torchrun without any service; and a burst of 20 jobs."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import Row, spread
from bench.running import Service, broker, databases, node, serving
from core.recipes import parse_spec
from core.run_dir import RunDir, RunFile, write_atomically

RUNS = 20
COLD_PAIRS = 10
BURST = 20
COMMAND = "python -m bench first_step"
TWO_RANKS = {"devices_per_node": 2, "accelerator": "cpu"}
SPECS: dict[str, dict[str, Any]] = {
    "scripted": {"recipe": "scripted", "training": {"steps": 20}, "resources": TWO_RANKS},
    "digits": {"recipe": "image-classification", "dataset": {"builtin": "digits"}, "training": {"epochs": 1}, "resources": TWO_RANKS},
}


def rows() -> Iterator[Row]:
    with databases() as available, broker() as broker_url, serving(available["SQLite"], broker_url=broker_url) as service:
        with node(service):
            for name, spec in SPECS.items():
                run_to_end(service, spec)  # fills the node's dataset cache
                seconds = [post_to_first_step(service, spec) for _ in range(RUNS)]
                reached = sorted(seconds)[RUNS // 2] <= 0.4
                yield Row(f"POST to first optimiser step, 2 ranks, warm, {name}", f"{spread(seconds, 3)} s", "0.4 s", reached, COMMAND)
            seconds_for_all = burst(service)
            yield Row(f"{BURST} one-rank jobs posted at once, all done", f"{seconds_for_all:.1f} s", "4 s", seconds_for_all <= 4, COMMAND)
        yield from cold_rows(service)


def cold_rows(service: Service) -> Iterator[Row]:
    pairs = []
    with node(service, launch="cold"):
        for _ in range(COLD_PAIRS):
            pairs.append((post_to_first_step(service, SPECS["scripted"]), plain_torchrun(SPECS["scripted"])))
    ratios = [ours / plain for ours, plain in pairs]
    reached = sorted(ratios)[len(ratios) // 2] <= 1.1
    yield Row("plain torchrun to first optimiser step, no service", f"{spread([plain for _, plain in pairs])} s", "", None, COMMAND)
    yield Row("cold start through the service", f"{spread([ours for ours, _ in pairs])} s", "", None, COMMAND)
    yield Row("cold start over plain torchrun", spread(ratios), "1.1", reached, COMMAND)


def post_to_first_step(service: Service, spec: dict[str, Any]) -> float:
    """Wall seconds from before the POST to the time that the ranks stamped on their first step; one clock, one machine."""
    started = time.time()
    job = service.call("POST", "/v1/jobs", spec)["id"]
    wait_terminal(service, job)
    series = service.call("GET", f"/v1/jobs/{job}/metrics?name=loss")["series"]
    return float(series[0]["times"][0]) - started


def run_to_end(service: Service, spec: dict[str, Any]) -> None:
    wait_terminal(service, service.call("POST", "/v1/jobs", spec)["id"])


def wait_terminal(service: Service, job: str) -> None:
    while not (state := service.call("GET", f"/v1/jobs/{job}?wait=30"))["is_terminal"]:
        pass
    if state["state"] != "succeeded":
        raise RuntimeError(json.dumps(state, indent=1))


def burst(service: Service) -> float:
    spec = {"recipe": "scripted", "training": {"steps": 1}, "resources": {"accelerator": "cpu"}}
    started = time.perf_counter()
    jobs = [service.call("POST", "/v1/jobs", spec)["id"] for _ in range(BURST)]
    for job in jobs:
        wait_terminal(service, job)
    return time.perf_counter() - started


def plain_torchrun(spec: dict[str, Any]) -> float:
    """The same trainer on the same spec under a torchrun typed by hand."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = RunDir.create(Path(folder) / "run")
        write_atomically(run_dir.spec, RunFile(job_id="job", attempt=1, spec=parse_spec(json.dumps(spec)), device="cpu"))
        started = time.time()
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            "-m",
            "trainer.main",
            str(run_dir.root),
        ]
        process = subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if process.wait(120):
            process.send_signal(signal.SIGKILL)
            raise RuntimeError(f"torchrun ended with {process.returncode}")
        return float(json.loads(run_dir.metrics.read_text().splitlines()[0])["at"]) - started
