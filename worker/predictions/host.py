"""The node's side of predictions: claims batches, gives each to the process that holds its model, and lets few of them live."""

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.wire.predictions import LEASE_SECONDS, ClaimPredictionsRequest, PredictionBatch
from worker.api_client import ApiRefused, ApiUnreachable
from worker.predictions.api import BatchApi, PredictionsApi
from worker.predictions.batch import HeldBatch
from worker.predictions.seat import Seat

log = logging.getLogger("trainyard.worker.predictions")

POLL_SECONDS = 20.0
RETRY_SECONDS = 1.0
STOP_SECONDS = 10.0
MAX_HELD = 4  # batches of one model that wait here; more wait in the ledger, and are claimed as one


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """``environ`` is what the models' processes get: no setting of ours, no token."""

    url: str
    node: str
    cache: Path
    home: Path
    environ: Mapping[str, str]
    max_loaded: int
    idle_seconds: float
    max_bytes: int | None = None  # of memory, for each model's process


class Host:
    """``run`` in one thread; ``stop`` from any other."""

    def __init__(self, api: PredictionsApi, facts: HostFacts) -> None:
        self._api = api
        self._facts = facts
        self._seats: dict[str, Seat] = {}
        self._held: set[HeldBatch] = set()
        self._changed = threading.Condition()
        self._stopped = threading.Event()

    @property
    def loaded(self) -> tuple[str, ...]:
        """Ids of the versions that have a seat."""
        with self._changed:
            return tuple(self._seats)

    def stop(self) -> None:
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def run(self) -> None:
        shutil.rmtree(self._facts.home, ignore_errors=True)
        threading.Thread(target=self._renew, name="renewing", daemon=True).start()
        while not self._stopped.is_set():
            self._claim()
            self._unload_idle()
        for seat in list(self._seats.values()):
            seat.stop(STOP_SECONDS)
        self._api.close()

    def _claim(self) -> None:
        """One pass. Whatever fails is tried again."""
        self._wait_for_room()
        wait = min(POLL_SECONDS, self._facts.idle_seconds)
        try:
            claim = self._api.claim(ClaimPredictionsRequest(node=self._facts.node, loaded=self.loaded, wait_seconds=wait))
        except (ApiUnreachable, ApiRefused) as error:
            log.warning("no predictions can be claimed", extra={"event": "predictions.unheard", "cause": str(error)})
            self._stopped.wait(RETRY_SECONDS)
            return
        if claim is not None:
            self._hand_over(claim)

    def _wait_for_room(self) -> None:
        with self._changed:
            while not self._stopped.is_set() and any(seat.num_held >= MAX_HELD for seat in self._seats.values()):
                self._changed.wait(RETRY_SECONDS)

    def _hand_over(self, claim: PredictionBatch) -> None:
        batch = HeldBatch(claim, BatchApi(self._facts.url, claim.batch_id, claim.lease_token), self._ended)
        with self._changed:
            self._held.add(batch)
            seat = self._seat_for(claim)
            if seat is not None:
                seat.put(batch)

    def _seat_for(self, claim: PredictionBatch) -> Seat | None:
        """The seat of this version, or a new one for which the least recently used one that is idle makes room; waits for that."""
        while not self._stopped.is_set():
            if claim.version_id in self._seats:
                return self._seats[claim.version_id]
            if len(self._seats) < self._facts.max_loaded:
                home, name = self._facts.home / claim.version_id, f"{claim.model}@{claim.version}"
                facts = self._facts
                seat = Seat(name, cache=facts.cache, home=home, environ=facts.environ, max_bytes=facts.max_bytes)
                self._seats[claim.version_id] = seat
                return seat
            idle = [version_id for version_id, seat in self._seats.items() if seat.num_held == 0]
            if idle:
                self._unload(min(idle, key=lambda version_id: self._seats[version_id].used_at))
            else:
                self._changed.wait(RETRY_SECONDS)
        return None

    def _unload_idle(self) -> None:
        with self._changed:
            before = time.monotonic() - self._facts.idle_seconds
            for version_id in [key for key, seat in self._seats.items() if seat.num_held == 0 and seat.used_at < before]:
                self._unload(version_id)

    def _unload(self, version_id: str) -> None:
        self._seats.pop(version_id).stop(STOP_SECONDS)

    def _ended(self, batch: HeldBatch) -> None:
        with self._changed:
            self._held.discard(batch)
            seat = self._seats.get(batch.claim.version_id)
            if seat is not None:
                seat.release()
            self._changed.notify_all()

    def _renew(self) -> None:
        while not self._stopped.wait(LEASE_SECONDS / 4):
            with self._changed:
                held = list(self._held)
            for batch in held:
                batch.renew()
        with self._changed:
            for batch in self._held:
                batch.give_up()
