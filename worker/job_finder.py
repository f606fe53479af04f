"""Looks for work: locks what is free, claims with exactly that, has a supervisor started, until nothing fits.

Rung by the doorbell and by the poll. One look runs at a time; rings that come meanwhile become one more look.
"""

import logging
import threading
from contextlib import closing

from core.errors import LeaseLost
from core.states import Reason
from core.wire.worker import Claim, ClaimRequest, FinishRequest
from worker.api_client import ApiRefused, ApiUnreachable, AttemptApi, NodeApi
from worker.devices import DeviceInventory, Reservation, busy, reserve_free
from worker.launcher import Launcher
from worker.node_dir import NodeDir
from worker.orders import NodeFacts, Orders

log = logging.getLogger("trainyard.worker.finder")


class JobFinder:
    """``worker_id`` is None until the node is registered; then and while the node drains, a look finds nothing."""

    def __init__(self, api: NodeApi, launcher: Launcher, node_dir: NodeDir, inventory: DeviceInventory, facts: NodeFacts) -> None:
        self._api = api
        self._launcher = launcher
        self._locks = node_dir.device_locks
        self._num_devices = len(inventory.devices)
        self._facts = facts
        self._looking = threading.Lock()
        self._rung = threading.Event()
        self.worker_id: str | None = None
        self.is_draining = False

    def look(self) -> int:
        """How many attempts were started. Returns at once when another thread is looking: it looks once more for us."""
        self._rung.set()
        num_started = 0
        while self._rung.is_set() and self._looking.acquire(blocking=False):
            try:
                self._rung.clear()
                num_started += self._claim_all()
            finally:
                self._looking.release()
        return num_started

    def free_devices(self) -> tuple[int, ...]:
        held = busy(self._locks, self._num_devices)
        return tuple(device for device in range(self._num_devices) if device not in held)

    def _claim_all(self) -> int:
        num_started = 0
        while self._claim_one():
            num_started += 1
        return num_started

    def _claim_one(self) -> bool:
        if self.worker_id is None or self.is_draining:
            return False
        with reserve_free(self._locks, self._num_devices) as reservation:
            if not reservation.devices:
                return False
            claim = self._ask(self.worker_id, reservation.devices)
            if claim is None:
                return False
            reservation.shrink_to(claim.devices)
            return self._start(claim, reservation)

    def _ask(self, worker_id: str, devices: tuple[int, ...]) -> Claim | None:
        try:
            return self._api.claim(ClaimRequest(worker_id=worker_id, devices=devices))
        except (ApiUnreachable, ApiRefused) as error:
            log.warning("could not claim", extra={"event": "claim.failed", "cause": str(error)})
            return None

    def _start(self, claim: Claim, reservation: Reservation) -> bool:
        """False when there is no supervisor, and there will be none for the next claim either."""
        about = {"job_id": claim.job_id, "attempt_id": claim.attempt_id, "attempt": claim.attempt, "devices": list(claim.devices)}
        text = Orders(claim=claim, node=self._facts).model_dump_json().encode()
        try:
            pid = self._launcher.start_supervisor(text, reservation.fd)
        except OSError as error:
            log.exception("no supervisor could be started", extra={"event": "supervisor.failed", **about})
            self._give_back(claim, error)
            return False
        log.info("claimed", extra={"event": "attempt.claimed", "supervisor": pid, **about})
        return True

    def _give_back(self, claim: Claim, error: OSError) -> None:
        """Nobody renews this lease, so the attempt ends here and not when the lease runs out."""
        request = FinishRequest(reason=Reason.RANK_DIED, message=f"the node could not start a supervisor: {error}")
        try:
            with closing(AttemptApi(self._facts.api_url, claim.attempt_id, claim.lease_token)) as api:
                api.finish(request)
        except (ApiUnreachable, ApiRefused, LeaseLost) as failure:
            log.warning("the attempt waits for its lease to end", extra={"event": "attempt.stranded", "cause": str(failure)})
