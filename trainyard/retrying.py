"""When a request is tried again, and how long to wait before. Pure: the caller sleeps and counts."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

TRANSIENT = frozenset({429, 502, 503, 504})
LONGEST_ORDERED_WAIT = 60.0
PATIENT_TRIES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Waits that double from ``first_delay`` to ``longest_delay``, each shortened at random by up to a half, so that
    clients of a server that comes back do not arrive all at once."""

    max_tries: int = 6
    first_delay: float = 0.25
    longest_delay: float = 8.0
    draw: Callable[[], float] = field(default=random.random, repr=False)

    def patient(self) -> Self:
        """For one who waits for a job's end and has heard of the server before: rides out a restart of some forty seconds."""
        return replace(self, max_tries=max(self.max_tries, PATIENT_TRIES))

    def delay(self, tries: int, retry_after: str | None = None) -> float | None:
        """Seconds to wait after the given number of tries, or None to give up.

        ``retry_after`` is the header of that name: its seconds count when they are more, and up to a minute.
        """
        if tries >= self.max_tries:
            return None
        wait: float = min(self.first_delay * 2 ** (tries - 1), self.longest_delay) * (1 - self.draw() / 2)
        return max(wait, _seconds(retry_after))


def _seconds(retry_after: str | None) -> float:
    """The delay-seconds form (RFC 9110, 10.2.3); a date is left to the server's clock and counts as nothing."""
    if retry_after is None or not retry_after.strip().isdecimal():
        return 0.0
    return min(float(retry_after), LONGEST_ORDERED_WAIT)
