"""Wakes those who wait for a job: long-polls and event streams.

A waiter registers first, then reads its own rows, then waits; whoever commits a change notifies after the commit. So a
change is either read or waited for, never missed. Nothing is handed over but the fact that there may be news.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

# The topic of the nodes that wait for something to predict.
PREDICTIONS = "predictions/waiting"


class Waiter:
    """One listener of one job; used on the event loop alone."""

    def __init__(self, live: "Live") -> None:
        self._live = live
        self._news = asyncio.Event()

    def wake(self) -> None:
        self._news.set()

    async def wait(self, timeout: float) -> bool:
        """True when there may be news since the last call, False after ``timeout`` seconds. Ends at once when the server stops."""
        if self._live.is_closed:
            return False
        try:
            async with asyncio.timeout(max(timeout, 0)):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Live:
    """All waiters of this process, by topic: a job's id for its record, the id and ``/logs`` or ``/metrics`` for what it ships.

    Shipping is steady, so it has topics of its own: a supervisor that waits for a control word is not woken by it.
    """

    def __init__(self) -> None:
        self._waiters: dict[str, set[Waiter]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_closed = False

    @contextmanager
    def listen(self, *topics: str) -> Iterator[Waiter]:
        """A waiter for these topics. Register before reading the rows, else a change in between goes unseen."""
        self._loop = asyncio.get_running_loop()
        waiter = Waiter(self)
        for topic in topics:
            self._waiters.setdefault(topic, set()).add(waiter)
        try:
            yield waiter
        finally:
            for topic in topics:
                self._forget(topic, waiter)

    def notify(self, *topics: str) -> None:
        """Tells those who wait for these topics to look; call after the commit, from any thread."""
        heard = [topic for topic in topics if topic in self._waiters]
        if heard and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, heard)

    def watched(self) -> list[str]:
        """The topics that someone waits for now; call on the event loop."""
        return list(self._waiters)

    def count(self, topic: str) -> int:
        """How many wait for this topic now."""
        return len(self._waiters.get(topic, ()))

    def close(self) -> None:
        """The server stops: every wait ends now. Call on the event loop."""
        self.is_closed = True
        self._wake(list(self._waiters))

    def _wake(self, topics: list[str]) -> None:
        for topic in topics:
            for waiter in self._waiters.get(topic, ()):
                waiter.wake()

    def _forget(self, topic: str, waiter: Waiter) -> None:
        others = self._waiters[topic]
        others.discard(waiter)
        if not others:
            del self._waiters[topic]
