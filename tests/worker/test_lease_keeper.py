"""The lease keeper against a real server: control words, outages, and a lease that passes on."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.states import Control
from tests.bed.waiting import until
from tests.worker.leased import LeasedAttempt
from worker.lease_keeper import LeaseKeeper

GRACE = 15.0


@contextmanager
def kept(attempt: LeasedAttempt) -> Iterator[tuple[LeaseKeeper, threading.Event]]:
    rung = threading.Event()
    with LeaseKeeper(attempt.api, ttl=attempt.claim.lease_ttl_seconds, grace=GRACE, changed=rung.set) as lease:
        yield lease, rung
    assert lease.join(10)


def test_a_cancel_reaches_the_supervisor_within_one_beat(attempt: LeasedAttempt) -> None:
    with kept(attempt) as (lease, rung):
        attempt.admin.post(f"/v1/jobs/{attempt.job_id}/cancel")
        assert rung.wait(attempt.claim.lease_ttl_seconds / 4 + 1)
        assert lease.control is Control.CANCEL


def test_a_pause_that_becomes_a_cancel_is_heard_twice(attempt: LeasedAttempt) -> None:
    with kept(attempt) as (lease, _):
        attempt.admin.post(f"/v1/jobs/{attempt.job_id}/pause")
        until(lambda: lease.control is Control.PAUSE, within=3, what="pause is heard")
        attempt.admin.post(f"/v1/jobs/{attempt.job_id}/cancel")
        until(lambda: lease.control is Control.CANCEL, within=3, what="cancel is heard")


def test_the_lease_outlives_many_times_its_length_while_it_is_renewed(attempt: LeasedAttempt) -> None:
    with kept(attempt) as (lease, _):
        first = lease.in_doubt_at
        until(lambda: lease.in_doubt_at > first + 2 * attempt.claim.lease_ttl_seconds, within=12, what="renewed for two leases")
        lease.check()
    assert attempt.get("attempts")["data"][0]["state"] in ("leased", "running")


def test_promise_06_an_unreachable_api_puts_the_lease_in_doubt_before_it_ends(attempt: LeasedAttempt) -> None:
    with kept(attempt) as (lease, _), attempt.proxy.under(refuses=True):
        until(lambda: time.monotonic() >= lease.in_doubt_at, within=5, what="the lease is in doubt")
        assert not lease.lost.is_set()
        assert lease.in_doubt_at < lease.kill_at < lease.in_doubt_at + attempt.claim.lease_ttl_seconds / 4


def test_a_short_outage_costs_nothing(attempt: LeasedAttempt) -> None:
    with kept(attempt) as (lease, _):
        with attempt.proxy.under(refuses=True):
            before = lease.in_doubt_at
        until(lambda: lease.in_doubt_at > before, within=5, what="renewed again")
        lease.check()


def test_a_connection_that_swallows_everything_costs_one_beat_and_not_the_lease(attempt: LeasedAttempt) -> None:
    with kept(attempt) as (lease, _):
        with attempt.proxy.under(drops=True):
            silent_since = lease.in_doubt_at
            # The beat under way is given up on its own; no reset tells that the other end is gone.
            threading.Event().wait(0.2)
        until(lambda: lease.in_doubt_at > silent_since, within=attempt.claim.lease_ttl_seconds, what="renewed on a new connection")


def test_promise_02_a_lease_that_passed_on_is_known_as_lost(attempt: LeasedAttempt) -> None:
    with kept(attempt) as (lease, rung), attempt.proxy.under(refuses=True):
        attempt.let_lease_run_out()
        until(lambda: attempt.get("attempts")["data"][0]["state"] == "lost", within=40, what="the attempt is lost")
        attempt.proxy.weather = type(attempt.proxy.weather)()
        until(lease.lost.is_set, within=10, what="the keeper knows")
        assert rung.is_set()
