"""A place for one model version: a thread that has its process started, and asks it for what is put into the queue."""

import logging
import queue
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from core.wire.predictions import RequestAnswer
from worker.cache_use import CacheUse
from worker.patience import GaveUp
from worker.predictions.batch import HeldBatch
from worker.predictions.predictor import Predictor, PredictorFailed

log = logging.getLogger("trainyard.worker.predictions")

_STOP = None


class Seat:
    """Used by the host under its lock, but for its own thread. ``home`` is this seat's alone."""

    def __init__(self, name: str, *, cache: Path, home: Path, environ: Mapping[str, str], max_bytes: int | None) -> None:
        self._name = name
        self._cache = cache
        self._home = home
        self._environ = environ
        self._max_bytes = max_bytes
        self._queue: queue.SimpleQueue[HeldBatch | None] = queue.SimpleQueue()
        self._predictor: Predictor | None = None
        self._uses = CacheUse()  # the package, for as long as the process lives
        self.num_held = 0
        self.used_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"seat {name}", daemon=True)
        self._thread.start()

    def put(self, batch: HeldBatch) -> None:
        self.num_held += 1
        self.used_at = time.monotonic()
        self._queue.put(batch)

    def release(self) -> None:
        """A batch has come to its end."""
        self.num_held -= 1
        self.used_at = time.monotonic()

    def stop(self, timeout: float) -> None:
        """Ends the thread and its process, waited for. What is in the queue is answered first."""
        self._queue.put(_STOP)
        self._thread.join(timeout)

    def _run(self) -> None:
        is_stopped = False
        while not is_stopped:
            batches, is_stopped = self._gather()
            if batches:
                self._serve(batches)
        self._unload("stopped")

    def _gather(self) -> tuple[list[HeldBatch], bool]:
        """What has come together, and whether this is the end."""
        found = [self._queue.get()]
        while found[-1] is not _STOP and not self._queue.empty():
            found.append(self._queue.get())
        return [batch for batch in found if batch is not None], found[-1] is _STOP

    def _serve(self, batches: list[HeldBatch]) -> None:
        try:
            load_seconds = self._load(batches[0])
            wanted = [batch for batch in batches if not batch.is_late]
            answers = self._ask(wanted)
        except PredictorFailed as failure:
            log.warning("a model failed", extra={"event": "predictor.failed", "model": self._name, "cause": str(failure)})
            self._unload("failed")
            for batch in batches:
                batch.fail(failure)
        except GaveUp:
            for batch in batches:
                batch.end()
        else:
            for batch in batches:
                if batch in wanted:
                    batch.answer([answers[task.id].model_copy(update={"load_seconds": load_seconds}) for task in batch.claim.tasks])
                else:
                    batch.fail(PredictorFailed("unavailable", "the model was not ready in time; now it is"))

    def _ask(self, batches: list[HeldBatch]) -> dict[str, RequestAnswer]:
        """The answer of each request."""
        if self._predictor is None or not batches:
            return {}
        tasks = [task for batch in batches for task in batch.claim.tasks]
        return {answer.request_id: answer for answer in self._predictor.ask(tasks, deadline=max(batch.deadline for batch in batches))}

    def _load(self, batch: HeldBatch) -> float:
        """Seconds that it took; 0 when the model is in memory. A process that died while nobody asked it is missed by nobody."""
        if self._predictor is not None and self._predictor.is_alive:
            return 0.0
        self._unload("dead")
        began = time.monotonic()
        folder = batch.folder(self._cache, self._uses)
        self._predictor = Predictor(folder, home=self._home, environ=self._environ, max_bytes=self._max_bytes)
        seconds = time.monotonic() - began
        told = {"event": "predictor.loaded", "model": self._name, "seconds": seconds, "child": self._predictor.pid}
        log.info("loaded a model", extra=told)
        return seconds

    def _unload(self, why: str) -> None:
        if self._predictor is not None:
            self._predictor.close()
            self._predictor = None
            shutil.rmtree(self._home, ignore_errors=True)
            log.info("unloaded a model", extra={"event": "predictor.unloaded", "model": self._name, "why": why})
        self._uses.close()
