"""kill -9 of every part in the middle of training: the job still succeeds, with the weights of a run that met no fault.

Each test kills one part after the first checkpoint, then asks the same four things: the job succeeded, it was running
again within lease + 10 s, nothing of an ended attempt is left, and the final weights have the fault-free SHA-256.
"""

import time

import pytest

from tests.bed.stack import Stack
from tests.faults.drills import REFERENCE_SPEC, expect_same_ending, expect_undisturbed, reference_weights

PARTS_OF_A_RUN = ("rank", "agent", "keeper", "supervisor")
PARTS_OF_A_NODE = ("pad", "celery")


@pytest.fixture(scope="module")
def weights(embedded: Stack) -> str:
    return reference_weights(embedded)


@pytest.mark.parametrize("part", PARTS_OF_A_RUN)
def test_promise_01_05_08_09_a_killed_part_of_a_run_costs_one_checkpoint_interval_and_no_bit(
    embedded: Stack, weights: str, part: str
) -> None:
    job = embedded.submit(REFERENCE_SPEC)
    embedded.wait_for_checkpoint(job)
    killed_at = time.monotonic()
    embedded.kill(part, job=job)
    embedded.wait_for_attempt(job, 2, state="running", seconds=embedded.lease_seconds + 10 - (time.monotonic() - killed_at))
    expect_same_ending(embedded, job, weights, attempts=2)
    second, first = embedded.attempts(job)
    num_lost = first["progress"]["step"] - second["resumed_from_step"]
    assert num_lost <= REFERENCE_SPEC["checkpoints"]["every_steps"], embedded.explain(job)
    assert 0.5 < embedded.job(job)["metrics"]["goodput"] <= 1


@pytest.mark.parametrize("part", PARTS_OF_A_NODE)
def test_promise_01_a_killed_part_of_a_node_disturbs_no_run(embedded: Stack, weights: str, part: str) -> None:
    job = embedded.submit(REFERENCE_SPEC)
    embedded.wait_for_checkpoint(job)
    embedded.kill(part)
    expect_same_ending(embedded, job, weights, attempts=1)
    embedded.wait_for_node()


@pytest.mark.parametrize("part", ["api", "redis"])
def test_promise_01_04_a_killed_server_disturbs_no_run(embedded: Stack, weights: str, part: str) -> None:
    job = embedded.submit(REFERENCE_SPEC)
    embedded.wait_for_checkpoint(job)
    embedded.kill(part)
    embedded.restart(part)
    expect_undisturbed(embedded, job, weights)


@pytest.mark.parametrize("part", ["api", "redis", "postgres"])
def test_promise_28_the_same_on_postgresql_and_redis(cluster: Stack, weights: str, part: str) -> None:
    job = cluster.submit(REFERENCE_SPEC)
    cluster.wait_for_checkpoint(job)
    cluster.kill(part)
    cluster.restart(part)
    expect_undisturbed(cluster, job, weights)


def test_promise_28_a_killed_supervisor_on_postgresql_and_redis(cluster: Stack, weights: str) -> None:
    job = cluster.submit(REFERENCE_SPEC)
    cluster.wait_for_checkpoint(job)
    cluster.kill("supervisor", job=job)
    cluster.wait_for_attempt(job, 2, state="running", seconds=cluster.lease_seconds + 10)
    expect_same_ending(cluster, job, weights, attempts=2)
