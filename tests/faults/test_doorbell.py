"""The broker may be stopped, emptied or made to stutter: only start-up latency changes."""

import time
from typing import Any

from api.doorbell import CeleryBell
from tests.bed.stack import Stack

QUICK: dict[str, Any] = {"recipe": "scripted", "training": {"steps": 2}, "resources": {"accelerator": "cpu"}}


def test_promise_04_a_broker_that_is_down_at_submit_changes_no_answer_and_polling_finds_the_job(embedded: Stack) -> None:
    embedded.kill("redis")
    try:
        asked = time.monotonic()
        job = embedded.submit(QUICK)
        assert time.monotonic() - asked < 3
        assert embedded.wait_terminal(job)["state"] == "succeeded"
    finally:
        embedded.restart("redis")


def test_promise_04_a_flushed_broker_and_a_lost_bell_cost_one_poll(embedded: Stack) -> None:
    embedded.flush_broker()
    job = embedded.submit(QUICK)
    assert embedded.wait_terminal(job)["state"] == "succeeded"


def test_promise_04_a_hundred_bells_start_one_run(embedded: Stack) -> None:
    job = embedded.submit(QUICK)
    bell = CeleryBell(embedded.redis.url)
    for _ in range(100):
        bell.send()
    state = embedded.wait_terminal(job)
    assert (state["state"], state["num_attempts"]) == ("succeeded", 1)
