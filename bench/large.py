"""A 10 GB artifact up and down over loopback: that no process of ours ever holds it, told by the peak of what each had in memory."""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from bench.report import Row
from bench.running import Service, databases, serving
from bench.upload import attempt_of

PIECE = hashlib.sha256(b"piece").digest() * 31_250
NUM_PIECES = 10_000
SIZE = NUM_PIECES * len(PIECE)
COMMAND = "python -m bench large"


def rows() -> Iterator[Row]:
    with databases() as available, serving(available["SQLite"]) as service:
        before = peak_of(service.pid)
        job, up = upload(service)
        down, client = download(service, job)
        growth = peak_of(service.pid) - before
    what = f"artifact of {SIZE / 1e9:.0f} GB"
    yield Row(f"{what}: upload, and download by `trainyard download`, digests included", f"{up:.0f} and {down:.0f} MB/s", "", None, COMMAND)
    yield Row("server's peak of memory meanwhile", f"rose by {growth:.0f} MB", "under 64 MB", growth < 64, COMMAND)
    yield Row("peak of memory of the client that downloads", f"{client:.0f} MB", "under 256 MB", client < 256, COMMAND)


def upload(service: Service) -> tuple[str, float]:
    """The job, and MB per second."""
    base, token = attempt_of(service)
    digest = hashlib.sha256()
    for _ in range(NUM_PIECES):
        digest.update(PIECE)
    sha256, length = digest.hexdigest(), {"Content-Length": str(SIZE)}
    started = time.perf_counter()
    with httpx2.Client(headers={"Authorization": f"Bearer {token}"}, timeout=600) as http:
        sent = http.put(f"{base}/{sha256}", params={"offset": 0, "size": SIZE}, content=(PIECE for _ in range(NUM_PIECES)), headers=length)
        seconds = time.perf_counter() - started
        assert sent.raise_for_status().json()["is_complete"], sent.text
        manifest = {"files": [{"path": "model.bin", "size": SIZE, "sha256": sha256}], "meta": {}}
        http.post(f"{base.removesuffix('/blobs')}/artifacts", json={"manifest": manifest}).raise_for_status()
    return service.call("GET", "/v1/jobs")["data"][0]["id"], SIZE / 1e6 / seconds


def download(service: Service, job: str) -> tuple[float, float]:
    """MB per second into a folder, and the client's peak of memory in MB."""
    environment = {**os.environ, "TRAINYARD_URL": service.url, "TRAINYARD_API_KEY": service.key}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "trainyard", "download", job, str(service.home / "got")], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the download failed"
    return SIZE / 1e6 / (time.perf_counter() - started), usage.ru_maxrss / 1e3


def peak_of(pid: int) -> float:
    """MB that the process has had in memory at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1e3
