"""Cancel arrives while the end of the job is just being committed: the API stands still at that very place."""

import random
import threading
from collections.abc import Iterator

import pytest

from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Stack

PLACES = ("finish.before_commit", "finish.after_commit")
PAUSE_SECONDS = 0.4
TRIALS = 8
QUICK = {"recipe": "scripted", "training": {"steps": 2}, "resources": {"accelerator": "cpu"}}


@pytest.fixture(params=PLACES)
def pausing(request: pytest.FixtureRequest, servers: Servers, databases: Databases) -> Iterator[Stack]:
    with Stack(servers, databases, api_env={"TRAINYARD_FAILPOINT": f"{request.param}:pause={PAUSE_SECONDS}"}) as stack:
        yield stack


def test_promise_03_a_cancel_at_the_commit_of_the_end_leaves_one_terminal_state(pausing: Stack) -> None:
    for seed in range(TRIALS):
        job = pausing.submit(QUICK)
        pausing.wait_for_attempt(job, 1, state="running", or_later=True)
        cancel_around_the_end(pausing, job, random.Random(seed))
        first = pausing.wait_terminal(job)
        assert first["state"] in {"succeeded", "cancelled"}, f"seed {seed}\n{pausing.explain(job)}"
        again = pausing.post(f"/v1/jobs/{job}/cancel")
        assert (again["state"], again["finished_at"]) == (first["state"], first["finished_at"]), f"seed {seed}"
        endings = [event["type"] for event in pausing.events(job) if event["type"] in {"job.succeeded", "job.cancelled", "job.failed"}]
        assert len(endings) == 1, f"seed {seed}: {endings}"


def cancel_around_the_end(stack: Stack, job: str, chance: random.Random) -> None:
    """Cancels at seeded moments, some of which fall into the pause; each is answered with what is true then."""
    answers: list[str] = []
    timers = [
        threading.Timer(chance.uniform(0.2, 0.2 + 2 * PAUSE_SECONDS), lambda: answers.append(stack.post(f"/v1/jobs/{job}/cancel")["state"]))
        for _ in range(3)
    ]
    for timer in timers:
        timer.start()
    for timer in timers:
        timer.join()
    assert len(answers) == len(timers)
    assert set(answers) <= {"cancelling", "cancelled", "succeeded"}
