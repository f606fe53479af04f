"""The control plane is away for longer than a lease: the ranks stop before their lease could pass on, and nothing runs twice."""

import time
from typing import Literal

import pytest

from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Stack
from tests.bed.waiting import until
from tests.faults.drills import REFERENCE_SPEC, expect_undisturbed, reference_weights, weights_of


@pytest.fixture(scope="module")
def weights(embedded: Stack) -> str:
    return reference_weights(embedded)


def test_promise_06_ranks_stop_before_the_lease_ends_when_the_api_is_away(embedded: Stack, weights: str) -> None:
    stop_before_the_lease_ends(embedded, "api", weights)


def test_promise_06_and_when_the_ledger_is_away(cluster: Stack, weights: str) -> None:
    stop_before_the_lease_ends(cluster, "postgres", weights)


def stop_before_the_lease_ends(stack: Stack, part: Literal["api", "postgres"], weights: str) -> None:
    job = stack.submit(REFERENCE_SPEC)
    stack.wait_for_checkpoint(job)
    stack.kill(part)
    lease_ends = time.monotonic() + stack.lease_seconds
    try:
        left = lease_ends - time.monotonic()
        until(lambda: not stack.pids("rank"), within=left, what="the ranks have stopped within the lease", explain=stack.logs)
    finally:
        stack.restart(part)
    expect_undisturbed(stack, job, weights)
    expect_one_live_attempt_at_any_time(stack, job)


def expect_one_live_attempt_at_any_time(stack: Stack, job: str) -> None:
    """In the journal, which is written in the transactions themselves, a claim never comes before the last attempt's end."""
    live = 0
    for event in stack.events(job):
        if event["type"] == "attempt.claimed":
            live += 1
        elif event["type"] in {f"attempt.{state}" for state in ("succeeded", "failed", "cancelled", "lost")}:
            live -= 1
        assert live in (0, 1), stack.explain(job)


def test_promise_08_a_cold_launch_gives_the_weights_of_a_warm_one(servers: Servers, databases: Databases, weights: str) -> None:
    with Stack(servers, databases, lease_seconds=10, node_env={"TRAINYARD_LAUNCH": "cold"}) as cold:
        job = cold.submit(REFERENCE_SPEC)
        state = cold.wait_terminal(job, seconds=90)
        assert state["state"] == "succeeded", cold.explain(job)
        assert cold.attempts(job)[0]["launched"] == "cold"
        assert weights_of(cold, job) == weights
