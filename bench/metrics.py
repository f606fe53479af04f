"""Metric points into the ledger through the worker route, batches of 1,000, while clients go on submitting."""

import json
import threading
import time
from collections.abc import Iterator

from bench import load
from bench.claims import claim_body, register
from bench.report import Row
from bench.running import Service, databases, serving

BATCHES = 600
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
    posts: list[load.Run] = []
    submitting = threading.Thread(target=lambda: posts.append(submit_meanwhile(service)))
    submitting.start()
    run = load.drive(
        service.url, lambda n: load.request("POST", target, key=claim["lease_token"], body=bodies[n]), connections=1, count=BATCHES
    )
    submitting.join()
    assert set(run.statuses) <= {200, 204}, run.statuses
    rate = BATCHES * BATCH / run.seconds
    yield Row(f"metric points into {database}, batches of {BATCH:,}", f"{rate:,.0f}/s", "50,000/s", rate >= 50_000, COMMAND)
    p99 = 1000 * posts[0].percentile(0.99)
    yield Row(f"POST /v1/jobs meanwhile, {database}", f"p99 {p99:.0f} ms at {posts[0].rate:.0f}/s", "under 100 ms", p99 < 100, COMMAND)


def batch(seq: int) -> bytes:
    per_series = BATCH // len(SERIES)
    first = (seq - 1) * per_series
    steps = list(range(first, first + per_series))
    times = [time.time()] * per_series
    series = {name: {"steps": steps, "values": [1 / (1 + step) for step in steps], "times": times} for name in SERIES}
    return json.dumps({"seq": seq, "series": series}).encode()


def submit_meanwhile(service: Service, pause: float = 0.02, count: int = 150) -> load.Run:
    """A steady trickle of submissions, one connection, so that its latency is the server's and not its own queue's."""

    def make(_number: int) -> bytes:
        time.sleep(pause)
        return load.request("POST", f"{service.url}/v1/jobs", key=service.key, body=SPEC)

    return load.drive(service.url, make, connections=1, count=count)
