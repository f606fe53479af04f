"""POST /v1/jobs with 8 clients on each database, and beside it what the disk itself can do."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import load
from bench.report import Row
from bench.running import databases, serving

CLIENTS = 8
JOBS = 2_000
SPEC = json.dumps({"recipe": "scripted", "training": {"steps": 1}}).encode()
COMMAND = "python -m bench submit"


def rows() -> Iterator[Row]:
    yield Row("bare fsync of an appended 4 KiB page", f"{fsyncs_per_second():.0f}/s", "", None, COMMAND)
    with databases() as available:
        for name, url in available.items():
            with serving(url) as service:
                run = load.drive(
                    service.url,
                    lambda n: load.request("POST", f"{service.url}/v1/jobs", key=service.key, body=SPEC),
                    connections=CLIENTS,
                    count=JOBS,
                )
            assert run.statuses == {201: JOBS}, run.statuses
            seen = f"{run.rate:.0f}/s, p50 {1000 * run.percentile(0.5):.1f} ms, p99 {1000 * run.percentile(0.99):.1f} ms"
            yield Row(f"POST /v1/jobs, {CLIENTS} clients, {name}", seen, "300/s", run.rate >= 300, COMMAND)


def fsyncs_per_second(seconds: float = 2.0) -> float:
    with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            count += 1
        return count / (time.perf_counter() - started)
