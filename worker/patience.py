"""Asking again: bounded pauses with jitter, until there is an answer or no sense in asking any more."""

import logging
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from worker.api_client import ApiUnreachable

log = logging.getLogger("trainyard.worker.patience")

Answer = TypeVar("Answer")
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 3.0


class GaveUp(Exception):
    """There was no answer, and it does not matter any more."""


class Patience:
    """Outlasts an API that is away. ``given_up`` is set by whoever knows that asking has become pointless."""

    def __init__(self, given_up: threading.Event, *, draw: Callable[[], float] = random.random) -> None:
        self._given_up = given_up
        self._draw = draw

    def keep_trying(self, ask: Callable[[], Answer], *, max_tries: int | None = None) -> Answer:
        """The answer of the first call that is answered. GaveUp when told to stop; the last ApiUnreachable after ``max_tries``."""
        tries = 0
        while True:
            if self._given_up.is_set():
                raise GaveUp
            try:
                return ask()
            except ApiUnreachable as error:
                tries += 1
                if tries == max_tries:
                    raise
                if tries == 1:
                    log.warning("the API is away, trying again", extra={"event": "api.unreachable", "cause": str(error)})
                self._given_up.wait(self._pause(tries, error.retry_after))

    def _pause(self, tries: int, asked_for: float | None) -> float:
        longest: float = min(FIRST_PAUSE_SECONDS * 2 ** min(tries, 10), LONGEST_PAUSE_SECONDS)
        return max(min(asked_for or 0.0, LONGEST_PAUSE_SECONDS), longest * (0.5 + 0.5 * self._draw()))
