"""One claimed batch on its way through this node: its lease, its files, its deadline, its answer."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from core.errors import LeaseLost
from core.wire.predictions import PredictionBatch, RequestAnswer, RequestFailure
from worker.api_client import ApiRefused, ApiUnreachable
from worker.cache_use import CacheUse
from worker.download import Downloader, WrongBytes
from worker.materialise import Materialiser
from worker.patience import GaveUp, Patience
from worker.predictions.api import BatchApi
from worker.predictions.predictor import PredictorFailed

log = logging.getLogger("trainyard.worker.predictions")

ANSWER_TRIES = 6
GRACE_SECONDS = 1.0


class HeldBatch:
    """``on_end`` is called once, when nothing more will be done for it."""

    def __init__(self, claim: PredictionBatch, api: BatchApi, on_end: Callable[["HeldBatch"], None]) -> None:
        self.claim = claim
        self.deadline = time.monotonic() + claim.seconds_left + GRACE_SECONDS
        self._api = api
        self._given_up = threading.Event()
        self._patience = Patience(self._given_up)
        self._on_end = on_end
        self._open = threading.Lock()
        self._is_closed = False

    @property
    def is_late(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return time.monotonic() > self.deadline

    def folder(self, cache: Path, uses: CacheUse) -> Path:
        """The package, brought here if need be. PredictorFailed when it cannot be; GaveUp when that does not matter any more."""
        materialiser = Materialiser(cache, (), Downloader(self._api, self._patience), self._check, uses=uses)
        try:
            return materialiser.package(self.claim.files)
        except LeaseLost:
            raise GaveUp from None
        except (ApiRefused, WrongBytes, OSError) as error:
            raise PredictorFailed("unavailable", f"the model could not be brought to the node: {error}") from None

    def renew(self) -> None:
        """Called now and then by the node, in its own thread."""
        try:
            with self._open:
                if not self._is_closed:
                    self._api.renew()
        except LeaseLost:
            self.give_up()
        except (ApiUnreachable, ApiRefused) as error:
            log.warning("a batch was not renewed", extra={"event": "batch.unrenewed", "cause": str(error)})

    def give_up(self) -> None:
        self._given_up.set()

    def fail(self, failure: PredictorFailed) -> None:
        """The same failure for every request."""
        told = RequestFailure(kind=failure.kind, message=str(failure))
        self.answer([RequestAnswer(request_id=task.id, failure=told) for task in self.claim.tasks])

    def answer(self, answers: Sequence[RequestAnswer]) -> None:
        try:
            self._patience.keep_trying(lambda: self._api.answer(answers), max_tries=ANSWER_TRIES)
        except (LeaseLost, GaveUp, ApiRefused, ApiUnreachable) as error:
            log.warning("a batch was not answered", extra={"event": "batch.unanswered", "cause": str(error) or type(error).__name__})
        finally:
            self.end()

    def end(self) -> None:
        with self._open:
            self._is_closed = True
            self._api.close()
        self._on_end(self)

    def _check(self) -> None:
        if self._given_up.is_set():
            raise GaveUp
