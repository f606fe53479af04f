"""Claims over HTTP: 16 workers, 10,000 queued jobs, on each database; every job must be claimed exactly once."""

import json
from collections import Counter
from collections.abc import Iterator

import psutil

from bench import load
from bench.report import Row
from bench.running import Service, databases, serving
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
    workers = [register(service, number) for number in range(WORKERS)]
    target = f"{service.url}/v1/worker/claim"
    api = psutil.Process(service.pid)
    before = sum(api.cpu_times()[:2])
    run = load.drive(
        service.url,
        lambda n: load.request("POST", target, key=service.worker_key, body=claim_body(workers[n % WORKERS])),
        connections=WORKERS,
        count=MEASURED,
    )
    cpu = (sum(api.cpu_times()[:2]) - before) / MEASURED
    assert run.statuses == {200: MEASURED}, run.statuses
    claimed = [json.loads(body)["job_id"] for body in run.bodies]
    doubled = [job for job, times in Counter(claimed).items() if times > 1]
    assert not doubled, f"{len(doubled)} jobs were claimed twice"
    seen = f"{run.rate:.0f}/s, {1e6 * cpu:.0f} microseconds of server CPU each, {len(claimed)} claims, none double"
    return Row(f"claims, {WORKERS} workers, {JOBS:,} queued, {database}", seen, "500/s", run.rate >= 500, COMMAND)


def register(service: Service, number: int) -> str:
    devices = [{"index": 0, "name": "slot"}]
    body = {"name": f"bench-{number}", "protocol": PROTOCOL, "version": "bench", "accelerator": "cpu", "devices": devices}
    return str(service.call("POST", "/v1/worker/register", body, key=service.worker_key)["worker_id"])


def claim_body(worker_id: str) -> bytes:
    return json.dumps({"worker_id": worker_id, "devices": [0]}).encode()
