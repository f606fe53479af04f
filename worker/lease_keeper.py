"""Keeps one lease alive, and knows when it must be given up for lost, by this machine's monotonic clock.

Only this thread renews: a second renewer would hide a lost lease from the one that must kill the ranks.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from core.errors import LeaseLost
from core.states import Control
from core.wire.worker import RenewRequest
from worker.api_client import ApiRefused, ApiUnreachable, AttemptApi
from worker.patience import LONGEST_PAUSE_SECONDS
from worker.watched_thread import WatchedThread

log = logging.getLogger("trainyard.worker.lease")

BEATS_PER_LEASE = 4
MAX_WAIT_SECONDS = 60.0
# A lease that may already have passed on still gets a beat in: the server, not we, decides whether it is lost.
LEAST_TIMEOUT_SECONDS = 0.5


class LeaseKeeper:
    """Renews while entered. ``changed`` is called from its thread whenever there is something new to look at.

    ``control`` is the newest word of the API, ``lost`` is set once the API has said that the lease passed on.
    A lease that could not be renewed for ``ttl - grace`` is *in doubt*; at ``ends_at`` another may hold it.
    """

    def __init__(self, api: AttemptApi, *, ttl: float, grace: float, changed: Callable[[], None]) -> None:
        self._api = api
        self._ttl = ttl
        self._grace = min(grace, ttl / BEATS_PER_LEASE)
        self._changed = changed
        self._renewed_at = time.monotonic()
        self._stopped = threading.Event()
        self._is_ending = False
        self._thread = WatchedThread("lease", self._run, changed)
        self.control = Control.CONTINUE
        self.lost = threading.Event()

    @property
    def in_doubt_at(self) -> float:
        """From this monotonic instant on, the ranks have to be stopped."""
        return self._renewed_at + self._ttl - self._grace

    @property
    def kill_at(self) -> float:
        """By this monotonic instant they have to be dead: a quarter of the grace is left for the killing."""
        return self._renewed_at + self._ttl - self._grace / 4

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        # Not joined: it may be waiting for an answer, and whatever that is, nobody acts on it any more.
        self._stopped.set()

    def join(self, timeout: float) -> bool:
        """Waits for the thread's last beat; False when it is still waiting for an answer."""
        return self._thread.join(timeout)

    def check(self) -> None:
        """Raises LeaseLost when the lease is gone, ThreadFailed when nobody renews it."""
        if self.lost.is_set():
            raise LeaseLost
        self._thread.check()

    def lose(self, error: LeaseLost) -> None:
        """Any call that was answered ``lease_lost`` ends up here."""
        if not self.lost.is_set():
            log.warning("the lease is lost", extra={"event": "lease.lost", "cause": str(error)})
        self.lost.set()
        self._changed()

    def expect_end(self) -> None:
        """The finish is on its way, and the lease ends with it. Until then it is renewed: the answer to a finish may take long."""
        self._is_ending = True

    def _end(self, error: LeaseLost) -> None:
        if self._is_ending:
            self._stopped.set()  # what the finish itself is answered decides
        else:
            self.lose(error)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause) and not self.lost.is_set():
            pause = self._beat()

    def _beat(self) -> float:
        """Renews once; seconds to wait until the next time."""
        wait = min(self._ttl / BEATS_PER_LEASE, MAX_WAIT_SECONDS)
        # The server's clock for the lease starts when it gets the request, which is after this.
        sent_at = time.monotonic()
        try:
            reply = self._api.renew(RenewRequest(wait_seconds=wait, seen=self.control), timeout=wait + self._slack())
        except LeaseLost as error:
            self._end(error)
            return 0.0
        except (ApiUnreachable, ApiRefused) as error:
            log.warning("the lease was not renewed", extra={"event": "lease.not_renewed", "cause": str(error)})
            return min(self._ttl / (4 * BEATS_PER_LEASE), LONGEST_PAUSE_SECONDS)
        self._renewed_at = sent_at
        self._ttl = reply.lease_ttl_seconds
        if reply.control != self.control:
            log.info("control word", extra={"event": "lease.control", "control": reply.control.value})
            self.control = reply.control
            self._changed()
        return 0.0

    def _slack(self) -> float:
        """How long an answer may be late, so that a connection that swallows everything costs one beat and not the lease."""
        return max(self._ttl / BEATS_PER_LEASE, LEAST_TIMEOUT_SECONDS)
