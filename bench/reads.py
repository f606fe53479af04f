"""GET /v1/jobs/{id} against a constant `def` route of the same stack, measured in turns in one run."""

import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.report import Row, spread
from bench.running import Service, databases, free_port, serving, stop, wait_ready

PAIRS = 10
SECONDS = 2
CONNECTIONS = 8
COMMAND = "python -m bench reads"
CONSTANT_APP = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/readyz")
def ready(): return {}
@app.get("/constant")
def constant(): return {"id": "job", "state": "queued"}
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


def rows() -> Iterator[Row]:
    with databases() as available:
        for name, url in available.items():
            with serving(url) as service, constant_route() as constant:
                yield from compare(service, constant, name)


def compare(service: Service, constant: str, database: str) -> Iterator[Row]:
    job = service.call("POST", "/v1/jobs", {"recipe": "scripted"})["id"]
    target = f"{service.url}/v1/jobs/{job}"
    etag = etag_of(service, target)
    base, reads, unchanged = [], [], []
    for _ in range(PAIRS):
        base.append(wrk(constant))
        reads.append(wrk(target, Authorization=f"Bearer {service.key}"))
        unchanged.append(wrk(target, **{"Authorization": f"Bearer {service.key}", "If-None-Match": etag}))
    ratios = [read / plain for read, plain in zip(reads, base, strict=True)]
    ratios_304 = [cached / read for cached, read in zip(unchanged, reads, strict=True)]
    seen = f"{spread(ratios)} of the constant route ({statistics.median(reads):.0f}/s against {statistics.median(base):.0f}/s)"
    yield Row(f"GET /v1/jobs/{{id}}, {CONNECTIONS} connections, {database}", seen, "0.5", statistics.median(ratios) >= 0.5, COMMAND)
    seen = f"{spread(ratios_304)} of the full answer ({statistics.median(unchanged):.0f}/s)"
    yield Row(f"the same, 304 by ETag, {database}", seen, "1.0", statistics.median(ratios_304) >= 1.0, COMMAND)


def wrk(url: str, **headers: str) -> float:
    """Answers per second; wrk fails loudly on anything but 2xx and 3xx."""
    binary = shutil.which("wrk")
    if binary is None:
        raise RuntimeError("this measurement needs wrk (Debian: apt-get install wrk)")
    options = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = [binary, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *options, url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output:
        raise RuntimeError(output)
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found, output
    return float(found[1])


def etag_of(service: Service, target: str) -> str:
    command = ["curl", "-sI", "-X", "GET", "-H", f"Authorization: Bearer {service.key}", target]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return next(line.split(": ", 1)[1].strip() for line in head.splitlines() if line.lower().startswith("etag"))


@contextmanager
def constant_route() -> Iterator[str]:
    port = free_port()
    log = Path(f".bench-constant-{port}.log")
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", CONSTANT_APP, str(port)], stdout=output, stderr=output)
    try:
        wait_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}/constant"
    finally:
        stop(process)
        log.unlink()
