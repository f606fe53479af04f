"""Pause, drain and a frozen supervisor: work is given back or fenced off, and the weights do not change."""

import os
import signal

import pytest

from tests.bed.stack import Stack
from tests.faults.drills import REFERENCE_SPEC, expect_same_ending, reference_weights


@pytest.fixture(scope="module")
def weights(embedded: Stack) -> str:
    return reference_weights(embedded)


def test_promise_08_pause_and_resume_change_no_bit(embedded: Stack, weights: str) -> None:
    job = embedded.submit(REFERENCE_SPEC)
    embedded.wait_for_step(job, 20)
    embedded.post(f"/v1/jobs/{job}/pause")
    embedded.wait_state(job, "paused")
    embedded.expect_no_survivors(job, seconds=10)
    embedded.post(f"/v1/jobs/{job}/resume")
    expect_same_ending(embedded, job, weights, attempts=2)
    assert embedded.attempts(job)[0]["resumed_from_step"] >= 20


def test_promise_13_drain_checkpoints_and_gives_the_attempt_back_unspent(embedded: Stack, weights: str) -> None:
    job = embedded.submit(REFERENCE_SPEC)
    embedded.wait_for_step(job, 20)
    worker = embedded.get("/v1/workers")["data"][0]["id"]
    embedded.post(f"/v1/workers/{worker}/drain")
    embedded.wait_for_attempt(job, 1, state="cancelled")
    assert embedded.attempts(job)[0]["reason"] == "drained"
    assert embedded.job(job)["state"] == "queued"
    embedded.post(f"/v1/workers/{worker}/undrain")
    expect_same_ending(embedded, job, weights, attempts=2)


def test_promise_02_a_supervisor_frozen_past_its_lease_writes_nothing_more(embedded: Stack, weights: str) -> None:
    job = embedded.submit(REFERENCE_SPEC)
    embedded.wait_for_checkpoint(job)
    frozen = embedded.pid("supervisor", job=job)
    os.kill(frozen, signal.SIGSTOP)
    # One node has no devices left while the frozen run's ranks hold theirs: only the record passes on until it thaws.
    embedded.wait_for_attempt(job, 1, state="lost", seconds=embedded.lease_seconds * 2 + 10)
    before = embedded.rows_of_attempt(job, 1)
    os.kill(frozen, signal.SIGCONT)
    expect_same_ending(embedded, job, weights, attempts=2)
    after = embedded.rows_of_attempt(job, 1)
    # Fewer is possible: checkpoints of attempt 1 make room for those of attempt 2, and the service itself packs its logs.
    written = {table: [row for row in rows if row not in before[table]] for table, rows in after.items() if table != "log_streams"}
    assert not any(written.values()), written
