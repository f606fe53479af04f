"""Metric points into the ledger through the worker route, batches of 1,000, while clients go on submitting."""

import json
import threading
import time
from collections.abc import Iterator

from bench import load
from bench.claims import claim_body, register
from bench.report import Row
from bench.running import Service, databases, serving

BATCHES = 3_000
BATCH = 1_000
SERIES = ("loss", "accuracy", "learning_rate", "samples_per_second")
SPEC = json.dumps({"recipe": "scripted"}).encode()
COMMAND = "python -m bench metrics"


def rows() -> Iterator[Row]:
    with databases() as available:
        for name, url in available.items():
            with serving(url) as service:
                yield from measure(service, name)


def measure(service: Service, database: str) -> Iterator[Row]:
    service.call("POST", "/v1/jobs", json.loads(SPEC))
    claim = service.call("POST", "/v1/worker/claim", json.loads(claim_body(register(service, 0))), key=service.worker_key)
    target = f"{service.url}/v1/worker/attempts/{claim['attempt_id']}/metrics"
    bodies = [batch(number) for number in range(1, BATCHES + 1)]
    done = threading.Event()
    latencies: list[float] = []
    submitting = threading.Thread(target=submit_until, args=(service, done, latencies))
    submitting.start()
    run = load.drive(
        service.url, lambda n: load.request("POST", target, key=claim["lease_token"], body=bodies[n]), connections=1, count=BATCHES
    )
    done.set()
    submitting.join()
    assert set(run.statuses) <= {200, 204}, run.statuses
    rate = BATCHES * BATCH / run.seconds
    yield Row(f"metric points into {database}, batches of {BATCH:,}", f"{rate:,.0f}/s", "50,000/s", rate >= 50_000, COMMAND)
    p99 = 1000 * sorted(latencies)[int(0.99 * len(latencies))]
    yield Row(f"POST /v1/jobs meanwhile, {database}", f"p99 {p99:.0f} ms of {len(latencies)}", "under 100 ms", p99 < 100, COMMAND)


def batch(seq: int) -> bytes:
    per_series = BATCH // len(SERIES)
    first = (seq - 1) * per_series
    steps = list(range(first, first + per_series))
    times = [time.time()] * per_series
    series = {name: {"steps": steps, "values": [1 / (1 + step) for step in steps], "times": times} for name in SERIES}
    return json.dumps({"seq": seq, "series": series}).encode()


def submit_until(service: Service, done: threading.Event, latencies: list[float], pause: float = 0.02) -> None:
    """A steady trickle of submissions for as long as the points come, one at a time; seconds of each."""
    while not done.wait(pause):
        started = time.perf_counter()
        service.call("POST", "/v1/jobs", json.loads(SPEC))
        latencies.append(time.perf_counter() - started)
