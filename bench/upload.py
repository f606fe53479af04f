"""Upload of a 256 MB object over loopback by a worker's own route: hashed, staged, durable and in its place when it is answered."""

import hashlib
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil

from bench.claims import claim_body, register
from bench.report import Row, spread
from bench.running import Service, databases, serving

SIZE = 256 * 1_000_000
RUNS = 5
COMMAND = "python -m bench upload"
PIECE = hashlib.sha256(b"piece").digest() * 31_250


def rows() -> Iterator[Row]:
    with databases() as available, serving(available["SQLite"]) as service:
        speeds, growth = measure(service)
    yield Row("object upload, 256 MB, digest included", f"{spread(speeds)} MB/s", "300", statistics.median(speeds) >= 300, COMMAND)
    yield Row("server memory during these uploads", f"grew by {growth:.0f} MB", "flat", growth < 32, COMMAND)


def measure(service: Service) -> tuple[list[float], float]:
    base, token = attempt_of(service)
    api = psutil.Process(service.pid)
    path = service.home / "object.bin"
    with httpx2.Client(headers={"Authorization": f"Bearer {token}"}, timeout=120) as http:
        send(http, base, path, 0)
        before = api.memory_info().rss
        speeds = [send(http, base, path, number) for number in range(1, RUNS + 1)]
    return speeds, (api.memory_info().rss - before) / 1e6


def attempt_of(service: Service) -> tuple[str, str]:
    """Where an attempt of a new job uploads, and its token."""
    service.call("POST", "/v1/jobs", {"recipe": "scripted"})
    claim = service.call("POST", "/v1/worker/claim", json.loads(claim_body(register(service, 0))), key=service.worker_key)
    return f"{service.url}/v1/worker/attempts/{claim['attempt_id']}/blobs", claim["lease_token"]


def send(http: httpx2.Client, base: str, path: Path, number: int) -> float:
    """MB per second of one object that the store has not seen."""
    with path.open("wb") as file:
        file.write(str(number).zfill(len(PIECE)).encode())
        for _ in range(SIZE // len(PIECE) - 1):
            file.write(PIECE)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        started = time.perf_counter()
        answer = http.put(f"{base}/{digest}", params={"offset": 0, "size": SIZE}, content=file)
        seconds = time.perf_counter() - started
    assert answer.json()["is_complete"], answer.text
    return SIZE / 1e6 / seconds
