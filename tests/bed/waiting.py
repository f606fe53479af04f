"""Waiting for something to become true, with a deadline: the only place of the suite that lets time pass."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
PAUSE_SECONDS = 0.02


class NotInTime(AssertionError):
    """What was waited for did not come true before the deadline."""


def until(
    question: Callable[[], Answer],
    *,
    within: float,
    what: str = "",
    explain: Callable[[], str] | None = None,
    pause: float = PAUSE_SECONDS,
) -> Answer:
    """The first true answer to ``question``, asked again and again for at most ``within`` seconds.

    Raises NotInTime with ``what`` was waited for, the last answer, and ``explain()`` (logs, say) when the time is up.
    """
    deadline = time.monotonic() + within
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            details = f"\n{explain()}" if explain else ""
            raise NotInTime(f"not within {within:g} s: {what or question}; last answer: {answer!r}{details}")
        time.sleep(pause)
