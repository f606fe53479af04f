"""Claims over HTTP: 16 workers, 10,000 queued jobs, on each database; every job must be claimed exactly once."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx2
import psutil

from bench import load
from bench.report import Row
from bench.service import Service, databases, serving
from core.wire.worker import PROTOCOL

WORKERS = 16
JOBS = 10_000
MEASURED = 4_000
SPEC = json.dumps({"recipe": "scripted"}).encode()
COMMAND = "python -m bench claims"


def rows() -> Iterator[Row]:
    with databases() as available:
        for name, url in available.items():
            with serving(url) as service:
                yield measure(service, name)


def measure(service: Service, database: str) -> Row:
    run = load.drive(
        service.url, lambda n: load.request("POST", f"{service.url}/v1/jobs", key=service.key, body=SPEC), connections=8, count=JOBS
    )
    assert run.statuses == {201: JOBS}, run.statuses
    bodies = [claim_body(register(service, number)) for number in range(WORKERS)]
    api = psutil.Process(service.pid)
    before = sum(api.cpu_times()[:2])
    claimed, seconds = claim_all(service, bodies)
    cpu = (sum(api.cpu_times()[:2]) - before) / len(claimed)
    doubled = [job for job, times in Counter(claimed).items() if times > 1]
    assert not doubled, f"{len(doubled)} jobs were claimed twice"
    rate = len(claimed) / seconds
    seen = f"{rate:.0f}/s, {1e6 * cpu:.0f} µs of server CPU each, {len(claimed)} claims, none double"
    return Row(f"claims, {WORKERS} workers, {JOBS:,} queued, {database}", seen, "500/s", rate >= 500, COMMAND)


def register(service: Service, number: int) -> str:
    devices = [{"index": 0, "name": "slot"}]
    body = {"name": f"bench-{number}", "protocol": PROTOCOL, "version": "bench", "accelerator": "cpu", "devices": devices}
    return str(service.call("POST", "/v1/worker/register", body, key=service.worker_key)["worker_id"])


def claim_body(worker_id: str) -> bytes:
    return json.dumps({"worker_id": worker_id, "devices": [0]}).encode()


def claim_all(service: Service, bodies: list[bytes]) -> tuple[list[str], float]:
    claimed: list[str] = []
    lock = threading.Lock()

    def work(body: bytes) -> None:
        headers = {"Authorization": f"Bearer {service.worker_key}", "Content-Type": "application/json"}
        with httpx2.Client(headers=headers) as client:
            while len(claimed) < MEASURED:
                answer = client.post(f"{service.url}/v1/worker/claim", content=body)
                answer.raise_for_status()
                job = json.loads(answer.content)["job_id"]
                with lock:
                    claimed.append(job)

    threads = [threading.Thread(target=work, args=(body,)) for body in bodies]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return claimed, time.perf_counter() - started
