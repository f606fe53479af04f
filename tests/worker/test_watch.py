"""The watch over a real tree and a real lease: words, limits, hangs, and a lease that goes away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.errors import LeaseLost
from core.run_dir import ProgressFile, StopFile, read_model, write_atomically
from core.states import Control, Phase, Reason
from tests.bed.waiting import until
from tests.worker.leased import LeasedAttempt, leased_attempt
from tests.worker.trees import Site, reserved
from worker.launcher import Launcher
from worker.lease_keeper import LeaseKeeper
from worker.stall import StallLimits
from worker.wake import Wake
from worker.watch import Limits, Verdict, Watch

FOREVER = StallLimits(training=600, other_phases=600)


class Watched:
    """A tree that runs ``rank.py``, watched in a thread of its own."""

    def __init__(self, site: Site, attempt: LeasedAttempt, wake: Wake, lease: LeaseKeeper) -> None:
        self.site = site
        self.attempt = attempt
        self.wake = wake
        self.lease = lease
        self.wants_to_leave = False
        self.verdict: Verdict | None = None
        self.error: BaseException | None = None
        self.thread: threading.Thread | None = None

    def leave(self) -> None:
        self.wants_to_leave = True
        self.wake.ring()

    def stop_word(self) -> str | None:
        stop = read_model(self.site.run_dir.stop, StopFile)
        return stop.reason if stop else None

    def end(self, seconds: float = 20) -> Verdict:
        assert self.thread is not None
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the watch goes on"
        if self.error is not None:
            raise self.error
        assert self.verdict is not None
        return self.verdict


Start = Callable[..., Any]


@pytest.fixture
def attempt(sqlite_url: str, tmp_path: Path) -> Iterator[LeasedAttempt]:
    """A lease whose beat is short, for a test is over with the beat that is under way."""
    with leased_attempt(sqlite_url, tmp_path, lease_ttl_seconds=8.0) as found:
        yield found


@pytest.fixture
def watching(door: Path, site: Site, request: pytest.FixtureRequest) -> Start:
    @contextmanager
    def start(attempt: LeasedAttempt, action: str, *, grace: float = 15, **limits: Any) -> Iterator[Watched]:
        wake = Wake()
        ttl = attempt.claim.lease_ttl_seconds
        plan = site.plan(action, grace=30)
        with (
            LeaseKeeper(attempt.api, ttl=ttl, grace=15, changed=wake.ring) as lease,
            reserved(site) as reservation,
            Launcher(door).start(plan, reservation.fd) as tree,
        ):
            watched = Watched(site, attempt, wake, lease)
            values = {"stop_grace": grace, "stall": FOREVER, "time_left": None, **limits}
            watch = Watch(
                tree,
                site.run_dir,
                lease,
                Limits(**values),
                wake=wake,
                check=lease.check,
                wants_to_leave=lambda: watched.wants_to_leave,
            )

            def run() -> None:
                try:
                    watched.verdict = watch.until_gone()
                except BaseException as error:  # handed to the test
                    watched.error = error

            watched.thread = threading.Thread(target=run)
            watched.thread.start()
            site.wait_told("ready")
            try:
                yield watched
            finally:
                tree.kill()
                watched.thread.join(20)
        assert lease.join(20)
        site.expect_clean(plan)

    return start


@pytest.mark.parametrize(("verb", "word"), [("cancel", "cancel"), ("pause", "pause")])
def test_promise_12_a_word_becomes_a_file_and_then_a_signal(watching: Start, attempt: LeasedAttempt, verb: str, word: str) -> None:
    with watching(attempt, "stay") as watched:
        attempt.admin.post(f"/v1/jobs/{attempt.job_id}/{verb}")
        watched.site.wait_told("asked")
        assert watched.stop_word() == word
        assert watched.end().reason is None


def test_a_stronger_word_replaces_a_weaker_one(watching: Start, attempt: LeasedAttempt) -> None:
    with watching(attempt, "ignore", grace=3) as watched:
        attempt.admin.post(f"/v1/jobs/{attempt.job_id}/pause")
        until(lambda: watched.stop_word() == "pause", within=10, what="pause")
        attempt.admin.post(f"/v1/jobs/{attempt.job_id}/cancel")
        until(lambda: watched.stop_word() == "cancel", within=10, what="cancel")
        watched.end()


def test_promise_07_ranks_that_ignore_the_signal_are_killed_after_the_grace(watching: Start, attempt: LeasedAttempt) -> None:
    with watching(attempt, "ignore", grace=1.0) as watched:
        asked_at = time.monotonic()
        watched.leave()
        watched.end()
        assert 1.0 <= time.monotonic() - asked_at < 8
        assert watched.stop_word() == "drain"


def test_the_time_limit_asks_for_a_checkpoint_and_gives_its_own_reason(watching: Start, attempt: LeasedAttempt) -> None:
    with watching(attempt, "stay", time_left=0.5) as watched:
        assert watched.end().reason is Reason.TIMED_OUT
        assert watched.stop_word() == "drain"


def test_promise_14_a_hang_leaves_the_stacks_of_every_rank(watching: Start, attempt: LeasedAttempt) -> None:
    stall = StallLimits(training=0.5, other_phases=600)
    with watching(attempt, "ignore", stall=stall) as watched:
        write_atomically(watched.site.run_dir.progress, ProgressFile(phase=Phase.TRAINING, step=3, at=1.0), durable=False)
        assert watched.end(60).reason is Reason.HANG
        stacks = list(watched.site.run_dir.artifacts.glob("stacks-*.txt"))
        assert len(stacks) >= 2
        assert any("wait_for_ever" in path.read_text() for path in stacks)


def test_slow_preparation_is_no_hang(watching: Start, attempt: LeasedAttempt) -> None:
    with watching(attempt, "stay", stall=StallLimits(training=0.2, other_phases=600)) as watched:
        write_atomically(watched.site.run_dir.progress, ProgressFile(phase=Phase.PREPARING, at=1.0), durable=False)
        threading.Event().wait(1.5)
        assert watched.verdict is None
        watched.leave()
        assert watched.end().reason is None


def test_promise_06_ranks_are_stopped_before_an_unrenewed_lease_ends(watching: Start, short_lease: LeasedAttempt) -> None:
    with watching(short_lease, "ignore") as watched, short_lease.proxy.under(refuses=True):
        watched.end(short_lease.claim.lease_ttl_seconds + 5)
        assert watched.lease.kill_at <= time.monotonic()
        assert watched.stop_word() == "drain"


def test_promise_02_a_lost_lease_ends_the_watch_at_once(watching: Start, attempt: LeasedAttempt) -> None:
    with watching(attempt, "ignore") as watched:
        watched.lease.lose(LeaseLost())
        with pytest.raises(LeaseLost):
            watched.end(5)


def test_a_tree_that_ends_by_itself_ends_the_watch(watching: Start, attempt: LeasedAttempt) -> None:
    with watching(attempt, "stay") as watched:
        watched.attempt.admin.post(f"/v1/jobs/{attempt.job_id}/cancel")
        verdict = watched.end()
        assert verdict.returncode not in (None, 0)
        assert watched.lease.control is Control.CANCEL
