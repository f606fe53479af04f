"""The API process after 1,000 jobs: what it imported and how much memory it holds."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench import load
from bench.report import Row
from bench.running import databases, serving

JOBS = 1_000
SPEC = json.dumps({"recipe": "scripted"}).encode()
COMMAND = "python -m bench api_process"


def rows() -> Iterator[Row]:
    with databases() as available:
        for name, url in available.items():
            with serving(url) as service:
                load.drive(
                    service.url,
                    lambda n: load.request("POST", f"{service.url}/v1/jobs", key=service.key, body=SPEC),
                    connections=8,
                    count=JOBS,
                )
                resident = psutil.Process(service.pid).memory_info().rss / 1e6
                has_torch = "libtorch" in Path(f"/proc/{service.pid}/maps").read_text()
            yield Row(f"API process after {JOBS:,} jobs, {name}", f"{resident:.0f} MB resident", "150 MB", resident <= 150, COMMAND)
            yield Row(f"torch in the API process, {name}", "loaded" if has_torch else "not loaded", "not loaded", not has_torch, COMMAND)
