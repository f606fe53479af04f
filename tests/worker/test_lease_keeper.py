"""The lease keeper against a real server: control words, outages, and a lease that passes on."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.states import Control, Reason
from core.wire.worker import FinishRequest
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


def test_a_cancel_reaches_the_supervisor_within_one_beat(short_lease: LeasedAttempt) -> None:
    with kept(short_lease) as (lease, rung):
        short_lease.admin.post(f"/v1/jobs/{short_lease.job_id}/cancel")
        assert rung.wait(short_lease.claim.lease_ttl_seconds / 4 + 1)
        assert lease.control is Control.CANCEL


def test_a_pause_that_becomes_a_cancel_is_heard_twice(short_lease: LeasedAttempt) -> None:
    with kept(short_lease) as (lease, _):
        short_lease.admin.post(f"/v1/jobs/{short_lease.job_id}/pause")
        until(lambda: lease.control is Control.PAUSE, within=3, what="pause is heard")
        short_lease.admin.post(f"/v1/jobs/{short_lease.job_id}/cancel")
        until(lambda: lease.control is Control.CANCEL, within=3, what="cancel is heard")


def test_the_lease_outlives_many_times_its_length_while_it_is_renewed(short_lease: LeasedAttempt) -> None:
    with kept(short_lease) as (lease, _):
        first = lease.in_doubt_at
        until(lambda: lease.in_doubt_at > first + 2 * short_lease.claim.lease_ttl_seconds, within=12, what="renewed for two leases")
        lease.check()
    assert short_lease.get("attempts")["data"][0]["state"] in ("leased", "running")


def test_promise_06_an_unreachable_api_puts_the_lease_in_doubt_before_it_ends(short_lease: LeasedAttempt) -> None:
    with kept(short_lease) as (lease, _), short_lease.proxy.under(refuses=True):
        until(lambda: time.monotonic() >= lease.in_doubt_at, within=5, what="the lease is in doubt")
        assert not lease.lost.is_set()
        assert lease.in_doubt_at < lease.kill_at < lease.in_doubt_at + short_lease.claim.lease_ttl_seconds / 4


def test_a_short_outage_costs_nothing(short_lease: LeasedAttempt) -> None:
    with kept(short_lease) as (lease, _):
        with short_lease.proxy.under(refuses=True):
            before = lease.in_doubt_at
        until(lambda: lease.in_doubt_at > before, within=5, what="renewed again")
        lease.check()


def test_a_connection_that_swallows_everything_costs_one_beat_and_not_the_lease(short_lease: LeasedAttempt) -> None:
    with kept(short_lease) as (lease, _):
        with short_lease.proxy.under(drops=True):
            silent_since = lease.in_doubt_at
            # The beat under way is given up on its own; no reset tells that the other end is gone.
            threading.Event().wait(0.2)
        until(lambda: lease.in_doubt_at > silent_since, within=short_lease.claim.lease_ttl_seconds, what="renewed on a new connection")


def test_promise_02_a_lease_that_passed_on_is_known_as_lost(short_lease: LeasedAttempt) -> None:
    with kept(short_lease) as (lease, rung), short_lease.proxy.under(refuses=True):
        short_lease.let_lease_run_out()
        until(lambda: short_lease.get("attempts")["data"][0]["state"] == "lost", within=40, what="the attempt is lost")
        short_lease.proxy.weather = type(short_lease.proxy.weather)()
        until(lease.lost.is_set, within=10, what="the keeper knows")
        assert rung.is_set()


def test_the_end_of_a_lease_with_its_finish_is_not_a_loss(short_lease: LeasedAttempt) -> None:
    with kept(short_lease) as (lease, _):
        lease.expect_end()
        short_lease.api.finish(FinishRequest(reason=Reason.DRAINED))
        assert lease.join(10)
        lease.check()
