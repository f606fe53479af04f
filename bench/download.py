"""Download of a 256 MB artifact over loopback against Starlette's default FileResponse, in turns in one run."""

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil

from bench.claims import claim_body, register
from bench.report import Row, spread
from bench.running import Service, databases, free_port, serving, stop, wait_ready

SIZE = 256 * 1_000_000
PAIRS = 10
COMMAND = "python -m bench download"
FILE_APP = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Route
async def file(request): return FileResponse(sys.argv[2])
async def ready(request): return PlainTextResponse("ok")
uvicorn.run(Starlette(routes=[Route("/file", file), Route("/readyz", ready)]), port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


def rows() -> Iterator[Row]:
    with databases() as available, serving(available["SQLite"]) as service:
        path = service.home / "model.bin"
        path.write_bytes(b"".join(hashlib.sha256(str(n).encode()).digest() * 1000 for n in range(SIZE // 32_000)))
        url = store(service, path)
        with plain_files(path) as plain:
            ours, theirs, growth = compare(service, url, plain)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    seen = f"{spread(ratios)} ({statistics.median(ours):.0f} MB/s against {statistics.median(theirs):.0f} MB/s)"
    yield Row("artifact download, 256 MB, against FileResponse", seen, "1.2", statistics.median(ratios) >= 1.2, COMMAND)
    yield Row("server memory during these downloads", f"grew by {growth:.0f} MB", "flat", growth < 32, COMMAND)


def compare(service: Service, url: str, plain: str) -> tuple[list[float], list[float], float]:
    api = psutil.Process(service.pid)
    fetch(url, service.key)
    fetch(plain, service.key)
    before = api.memory_info().rss
    pairs = [(fetch(url, service.key), fetch(plain, service.key)) for _ in range(PAIRS)]
    return [a for a, _ in pairs], [b for _, b in pairs], (api.memory_info().rss - before) / 1e6


def fetch(url: str, key: str) -> float:
    """MB per second that curl reports for one download."""
    command = [
        shutil.which("curl") or "curl",
        "-sf",
        "-o",
        "/dev/null",
        "-H",
        f"Authorization: Bearer {key}",
        "-w",
        "%{speed_download}",
        url,
    ]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1e6


def store(service: Service, path: Path) -> str:
    """Puts the file where a finished job's artifact lies, by the worker's own routes; returns its address."""
    job = service.call("POST", "/v1/jobs", {"recipe": "scripted"})["id"]
    claim = service.call("POST", "/v1/worker/claim", json.loads(claim_body(register(service, 0))), key=service.worker_key)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    base = f"{service.url}/v1/worker/attempts/{claim['attempt_id']}"
    headers = {"Authorization": f"Bearer {claim['lease_token']}"}
    started = time.perf_counter()
    with path.open("rb") as file:
        httpx2.put(f"{base}/blobs/{digest}?offset=0&size={SIZE}", content=file, headers=headers, timeout=120).raise_for_status()
    print(f"uploaded {SIZE / 1e6 / (time.perf_counter() - started):.0f} MB/s", file=sys.stderr)
    manifest = {"files": [{"path": "model.bin", "size": SIZE, "sha256": digest}], "meta": {}}
    httpx2.post(f"{base}/artifacts", json={"manifest": manifest}, headers=headers).raise_for_status()
    return f"{service.url}/v1/jobs/{job}/artifacts/model.bin"


@contextmanager
def plain_files(path: Path) -> Iterator[str]:
    port = free_port()
    log = path.with_name("plain.log")
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", FILE_APP, str(port), str(path)], stdout=output, stderr=output)
    try:
        wait_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}/file"
    finally:
        stop(process)
