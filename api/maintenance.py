"""What must happen without a request: reaping expired leases, ringing for jobs that wait, and pruning.

One process does it, elected by a row of the ledger. The loop exposes one pass, so tests call that and never wait.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from api.deps import ApiState
from core.artifacts.orphans import collect_orphans
from core.datasets.settle import settle_datasets
from core.elections import hold, resign
from core.errors import TrainyardError
from core.failpoints import hit
from core.ids import new_id
from core.jobs.prune import prune_idempotency
from core.jobs.queries import has_claimable
from core.jobs.reap import reap
from core.models.settle import settle_models
from core.output.compact import compact_logs
from core.predictions.prune import prune_predictions
from core.retention.apply import apply_retention

log = logging.getLogger("trainyard.api.maintenance")

DUTY = "maintenance"
PRUNE_SECONDS = 300.0


class Maintenance:
    """A thread that lives while this object is entered.

    No lease is judged before everyone had a whole ttl to renew: after this process started, after the ledger could not
    be reached, and after this process itself stood still.
    """

    def __init__(self, state: ApiState, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._monotonic = monotonic
        self._ttl = state.settings.lease_ttl_seconds
        self._pause = state.settings.maintenance_seconds
        self._holder = new_id("api")
        self._reap_after = monotonic() + self._ttl
        self._last_pass = monotonic()
        self._prune_after = monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        with suppress(TrainyardError), self._state.db.begin() as tx:
            resign(tx, duty=DUTY, holder=self._holder)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            self.attempt_pass()

    def attempt_pass(self) -> None:
        """One pass whose failure is told and survived: the next one may find the ledger back."""
        try:
            self.run_pass()
        except TrainyardError as error:
            self._reap_after = self._monotonic() + self._ttl
            self._tell_failure(str(error.__cause__ or error))
        except Exception:
            # The outermost pass of the loop: whatever it was, the service must go on reaping.
            log.exception("maintenance pass crashed", extra={"event": "pass.failed"})
            self._state.measures.pass_failures.inc()

    def run_pass(self) -> list[str]:
        """Does what is due and returns the jobs whose attempts were lost."""
        self._notice_standstill()
        with self._state.db.begin() as tx:
            is_elected = hold(tx, duty=DUTY, holder=self._holder, ttl_seconds=max(5 * self._pause, 10.0))
        if not is_elected:
            return []
        lost = self._reap() if self._monotonic() >= self._reap_after else []
        with self._state.db.begin() as tx:
            settled = settle_datasets(tx, self._state.clock.now())
            settle_models(tx, self._state.clock.now())
        self._state.live.notify(*settled.failed_jobs)
        with self._state.db.read() as tx:
            is_work_waiting = has_claimable(tx)
        if lost or is_work_waiting:
            self._state.doorbell.ring()
        compact_logs(self._state.db, self._state.store, now=self._state.clock.now())
        if self._monotonic() >= self._prune_after:
            self._prune()
            self._prune_after = self._monotonic() + PRUNE_SECONDS
        return lost

    def _notice_standstill(self) -> None:
        now = self._monotonic()
        # A suspended process could not answer renewals either, so its workers get their ttl anew.
        if now - self._last_pass > self._pause + self._ttl / 2:
            self._reap_after = now + self._ttl
        self._last_pass = now

    def _reap(self) -> list[str]:
        with self._state.db.begin() as tx:
            lost = reap(tx, now=self._state.clock.now())
            hit("reap.before_commit")
        hit("reap.after_commit")
        if lost:
            self._state.measures.reaped.inc(len(lost))
            self._state.live.notify(*lost)
            log.warning("leases ran out", extra={"event": "attempts.reaped", "jobs": lost})
        return lost

    def _prune(self) -> None:
        before = self._state.clock.now() - timedelta(hours=self._state.settings.idempotency_hours)
        with self._state.db.begin() as tx:
            prune_idempotency(tx, before)
            prune_predictions(tx)
        num_removed = apply_retention(self._state.db, now=self._state.clock.now())
        if num_removed:
            log.info("retention removed what projects keep no longer", extra={"event": "retention.applied", "num_removed": num_removed})
        collect_orphans(self._state.db, self._state.store, now=self._state.clock.now())

    def _tell_failure(self, cause: str) -> None:
        self._state.measures.pass_failures.inc()
        log.warning("maintenance pass failed", extra={"event": "pass.failed", "cause": cause})
