"""The node's own thread beside Celery: registers, beats, polls for work, tidies up. Works without any broker."""

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from core.wire.worker import PROTOCOL, DeviceInfo, HeartbeatRequest, Isolation, RegisterRequest
from worker.api_client import ApiRefused, ApiUnreachable, NodeApi
from worker.cache_pruning import CacheLimits, prune_cache
from worker.confinement.offer import Offer
from worker.devices import DeviceInventory
from worker.job_finder import JobFinder
from worker.node_dir import NodeDir
from worker.versions import torch_version, version

log = logging.getLogger("trainyard.worker.node")

JITTER = 0.2
RETRY_SECONDS = 1.0
PRUNE_SECONDS = 600.0
# A launch pad imports torch first; a job that is there already would else be launched cold, which takes longer still.
PAD_SECONDS = 60.0
PAD_PAUSE_SECONDS = 0.1


class NodeLoop:
    """``pad_answers`` tells whether jobs are launched warm at this moment; None on a node that launches cold by choice."""

    def __init__(
        self,
        api: NodeApi,
        finder: JobFinder,
        node_dir: NodeDir,
        inventory: DeviceInventory,
        *,
        name: str,
        poll_seconds: float,
        keep_run_dirs: timedelta,
        cache_limits: CacheLimits,
        offer: Offer,
        pad_answers: Callable[[], bool] | None,
    ) -> None:
        self._api = api
        self._finder = finder
        self._node_dir = node_dir
        self._inventory = inventory
        self._name = name
        self._poll_seconds = poll_seconds
        self._keep_run_dirs = keep_run_dirs
        self._cache_limits = cache_limits
        self._offer = offer
        self._pad_answers = pad_answers
        self._stopped = threading.Event()
        self._nudged = threading.Event()
        self._leaving_said = False
        self._pruned_at = 0.0
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Waits until a claim that is under way has its supervisor."""
        self._stopped.set()
        self._nudged.set()
        self._thread.join(timeout)

    def nudge(self) -> None:
        """Makes the next pass happen now. Safe in a signal handler."""
        self._nudged.set()

    def _run(self) -> None:
        self._wait_for_pad()
        while not self._stopped.is_set():
            pause = self.pass_once()
            self._nudged.wait(pause)
            self._nudged.clear()

    def pass_once(self) -> float:
        """One pass; seconds until the next. The outermost place of this thread: whatever fails is tried again."""
        try:
            self._be_known()
            self._finder.look()
            self._prune()
        except (ApiUnreachable, ApiRefused) as error:
            log.warning("the API does not know of this node", extra={"event": "node.unheard", "cause": str(error)})
            return min(RETRY_SECONDS, self._poll_seconds)
        except OSError:
            log.exception("a pass failed", extra={"event": "pass.failed"})
        return self._poll_seconds * random.uniform(1 - JITTER, 1 + JITTER)

    def _be_known(self) -> None:
        """Registers once, beats afterwards, and says that the node leaves when its parent says so."""
        if self._finder.worker_id is None:
            reply = self._api.register(self._description())
            self._finder.worker_id, self._finder.is_draining = reply.worker_id, reply.is_draining
            self._leaving_said = False
            log.info("registered", extra={"event": "node.registered", "worker_id": reply.worker_id, "node": self._name})
        if self._node_dir.leaving.exists():
            self._leave(self._finder.worker_id)
        self._beat(self._finder.worker_id)

    def _beat(self, worker_id: str) -> None:
        request = HeartbeatRequest(worker_id=worker_id, free_devices=self._finder.free_devices(), launch=self._launch())
        try:
            reply = self._api.heartbeat(request)
        except ApiRefused as error:
            if error.code == "not_found":
                self._finder.worker_id = None  # another ledger than the one we registered with
            raise
        self._finder.is_draining = reply.is_draining

    def _leave(self, worker_id: str) -> None:
        self._finder.is_draining = True
        if not self._leaving_said:
            self._api.drain(worker_id)
            self._leaving_said = True
            self._node_dir.leaving.write_text("the API knows")
            log.info("draining", extra={"event": "node.leaving"})

    def _description(self) -> RegisterRequest:
        devices = tuple(DeviceInfo(index=it.index, name=it.name, memory_bytes=it.memory_bytes) for it in self._inventory.devices)
        return RegisterRequest(
            name=self._name,
            protocol=PROTOCOL,
            version=version(),
            accelerator=self._inventory.kind,
            devices=devices,
            torch_version=torch_version(),
            launch=self._launch(),
            isolation=Isolation(level=self._offer.level, walls=self._offer.walls, lacks=self._offer.lacks),
        )

    def _launch(self) -> Literal["warm", "cold"]:
        return "warm" if self._pad_answers is not None and self._pad_answers() else "cold"

    def _wait_for_pad(self) -> None:
        deadline = time.monotonic() + PAD_SECONDS
        while self._pad_answers is not None and not self._pad_answers() and time.monotonic() < deadline:
            if self._stopped.wait(PAD_PAUSE_SECONDS):
                return

    def _prune(self) -> None:
        if time.monotonic() - self._pruned_at < PRUNE_SECONDS and self._pruned_at:
            return
        self._pruned_at = time.monotonic()
        for job_id in self._node_dir.prune_runs(self._keep_run_dirs):
            log.info("removed old run directories", extra={"event": "runs.pruned", "job_id": job_id})
        prune_cache(self._node_dir.cache, self._cache_limits)
