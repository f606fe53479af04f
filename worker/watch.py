"""Watches one launched tree until nothing of it is left: obeys the control word, keeps the time limit, finds hangs.

Everything here is local and quick. What talks to the API are threads of their own; this loop only hears of them.
"""

import logging
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from core.run_dir import RunDir
from core.states import Control, Reason
from worker.lease_keeper import LeaseKeeper
from worker.stacks import dump_stacks
from worker.stall import ProgressWatch, StallLimits
from worker.tree import Tree
from worker.wake import Wake
from worker.watched_thread import WatchedThread

log = logging.getLogger("trainyard.worker.watch")

LOOK_SECONDS = 0.25
STACKS_SECONDS = 30.0

StopWord = Literal["pause", "cancel", "drain"]
# A later word replaces an earlier one only if it is stronger.
STRENGTH: dict[StopWord | None, int] = {None: 0, "drain": 1, "pause": 2, "cancel": 3}
STOP_WORDS: dict[Control, StopWord] = {Control.PAUSE: "pause", Control.CANCEL: "cancel", Control.DRAIN: "drain"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds; ``time_left`` is None where the spec sets no time limit."""

    stop_grace: float
    stall: StallLimits
    time_left: float | None
    overrun: Callable[[], str | None] = lambda: None  # what else the run has exceeded, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What this loop itself did to the run. ``reason`` counts unless the run has completed all the same."""

    returncode: int | None
    reason: Reason | None = None
    message: str = ""


class Watch:
    """``check`` raises what makes it pointless to go on; ``wants_to_leave`` tells that this supervisor was asked to go."""

    def __init__(
        self,
        tree: Tree,
        run_dir: RunDir,
        lease: LeaseKeeper,
        limits: Limits,
        *,
        wake: Wake,
        check: Callable[[], None],
        wants_to_leave: Callable[[], bool],
    ) -> None:
        self._tree = tree
        self._run_dir = run_dir
        self._lease = lease
        self._limits = limits
        self._wake = wake
        self._check = check
        self._wants_to_leave = wants_to_leave
        self._progress = ProgressWatch(run_dir)
        self._ends_at = None if limits.time_left is None else time.monotonic() + limits.time_left
        self._word: StopWord | None = None
        self._kill_at: float | None = None
        self._reason: Reason | None = None
        self._message = ""
        self._stacks: WatchedThread | None = None

    def until_gone(self) -> Verdict:
        """Returns when no process of the tree is left. Whatever is raised, the caller has to kill the tree."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._tree, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._tree.is_gone:
                selector.select(LOOK_SECONDS)
                self._wake.hush()
                while self._tree.poll():
                    pass
                self._look(time.monotonic())
        return Verdict(returncode=self._tree.returncode, reason=self._reason, message=self._message)

    def _look(self, now: float) -> None:
        self._check()
        self._obey(now)
        if self._ends_at is not None and now >= self._ends_at and self._reason is None:
            self._give_up(Reason.TIMED_OUT, "the job reached its time limit")
            self._stop("drain", now)  # with a checkpoint: more time may be given to it later
        overrun = self._limits.overrun() if self._reason is None else None
        if overrun is not None:
            self._give_up(Reason.LIMIT, overrun)
            self._tree.kill()  # it would use the grace to use more
        self._look_for_a_hang()
        if self._is_overdue(now):
            self._tree.kill()

    def _obey(self, now: float) -> None:
        word = STOP_WORDS.get(self._lease.control)
        if word is not None:
            self._stop(word, now)
        if now >= self._lease.in_doubt_at and self._word is None:
            log.warning("the lease is in doubt, stopping the ranks", extra={"event": "lease.in_doubt"})
            self._stop("drain", now)
        if self._wants_to_leave():
            self._stop("drain", now)

    def _stop(self, word: StopWord, now: float) -> None:
        """The file explains, then the signal wakes; the first asking starts the grace."""
        if STRENGTH[word] <= STRENGTH[self._word]:
            return
        self._word = word
        self._run_dir.ask_to_stop(word)
        self._tree.terminate()
        self._kill_at = self._kill_at or now + self._limits.stop_grace
        log.info("asked the ranks to stop", extra={"event": "ranks.asked_to_stop", "why": word})

    def _is_overdue(self, now: float) -> bool:
        return now >= self._lease.kill_at or (self._kill_at is not None and now >= self._kill_at)

    def _give_up(self, reason: Reason, message: str) -> None:
        self._reason, self._message = reason, message
        log.warning(message, extra={"event": "run.given_up", "reason": reason.value})

    def _look_for_a_hang(self) -> None:
        self._progress.look()
        if self._stacks is not None or self._word is not None:
            return
        age = self._progress.stalled_for(self._limits.stall)
        if age is None:
            return
        self._give_up(Reason.HANG, f"no progress for {age:.0f} s")
        # In a thread, because the lease goes on meanwhile; the ranks are killed when it is done, or has taken too long.
        self._kill_at = time.monotonic() + STACKS_SECONDS
        self._stacks = WatchedThread("stacks", self._keep_stacks, self._wake.ring)
        self._stacks.start()

    def _keep_stacks(self) -> None:
        stacks = dump_stacks(self._tree.rank_pids())
        for pid, text in stacks.items():
            (self._run_dir.artifacts / f"stacks-{pid}.txt").write_text(text)
        self._kill_at = time.monotonic()
        self._wake.ring()


def obeyed_reason(control: Control) -> Reason | None:
    """How an attempt ends that was told to stop before there was anything to stop."""
    return {Control.PAUSE: Reason.PAUSED, Control.CANCEL: Reason.CANCELLED, Control.DRAIN: Reason.DRAINED}.get(control)
