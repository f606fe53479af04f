"""Cancel in every situation: exactly one terminal state, and it never changes afterwards."""

import random
import threading
from typing import Any

import pytest

from tests.bed.stack import Stack

NEVER: dict[str, Any] = {"recipe": "scripted", "training": {"ending": "never", "step_seconds": 0.05}, "resources": {"accelerator": "cpu"}}


def test_promise_12_cancel_while_queued_is_final_at_once(embedded: Stack) -> None:
    job = embedded.submit({**NEVER, "resources": {"devices_per_node": 64, "accelerator": "cpu"}})
    answer = embedded.post(f"/v1/jobs/{job}/cancel")
    assert (answer["state"], answer["is_terminal"]) == ("cancelled", True)


def test_promise_12_cancel_while_running_stops_the_ranks_and_keeps_what_there_is(embedded: Stack) -> None:
    job = embedded.submit(NEVER)
    embedded.wait_for_step(job, 3)
    embedded.post(f"/v1/jobs/{job}/cancel")
    state = embedded.wait_terminal(job, seconds=embedded.lease_seconds / 4 + 15)
    assert (state["state"], state["reason"]) == ("cancelled", "cancelled")
    embedded.expect_no_survivors(job, seconds=10)
    assert embedded.get(f"/v1/jobs/{job}/metrics?name=loss")["series"][0]["num_points"] >= 3


def test_promise_12_cancel_against_a_dead_worker_ends_at_lease_expiry(embedded: Stack) -> None:
    job = embedded.submit(NEVER)
    embedded.wait_for_step(job, 3)
    embedded.kill("supervisor", job=job)
    embedded.post(f"/v1/jobs/{job}/cancel")
    state = embedded.wait_terminal(job, seconds=embedded.lease_seconds + 10)
    assert (state["state"], state["num_attempts"]) == ("cancelled", 1)


@pytest.mark.parametrize("seed", range(12))
def test_promise_03_cancel_racing_with_the_end_gives_one_terminal_state(embedded: Stack, seed: int) -> None:
    pause = random.Random(seed).uniform(0.0, 0.8)
    job = embedded.submit({"recipe": "scripted", "training": {"steps": 5, "step_seconds": 0.02}, "resources": {"accelerator": "cpu"}})
    embedded.wait_for_attempt(job, 1, state="leased", or_later=True)
    racing = threading.Timer(pause, embedded.post, args=(f"/v1/jobs/{job}/cancel",))
    racing.start()
    racing.join()
    first = embedded.wait_terminal(job)
    assert first["state"] in {"succeeded", "cancelled"}, f"seed {seed}"
    embedded.post(f"/v1/jobs/{job}/cancel")
    again = embedded.job(job)
    assert (again["state"], again["finished_at"]) == (first["state"], first["finished_at"]), f"seed {seed}"
    endings = [event for event in embedded.events(job) if event["type"] in {"job.succeeded", "job.cancelled", "job.failed"}]
    assert len(endings) == 1, f"seed {seed}: {endings}"
