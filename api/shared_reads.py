"""Small reads that come at the same time share a thread, a connection and a transaction.

Alone, a read of one row costs more for getting to the ledger and back than for the row. While one batch is being
answered the next one gathers, so nobody waits for company: an idle server answers each read by itself, a busy one many
at once (seen with 8 callers on SQLite: a third less work for each).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from core.db.engine import Database
from core.errors import TrainyardError

MAX_BATCH = 32
MAX_RUNNING = 2  # batches at once: on PostgreSQL most of a read is waiting for the server
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Callable[[Connection], Any]
    answer: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    asked: _Asked
    answer: Any = None
    error: Exception | None = None


class SharedReads:
    """Used on the event loop alone; questions run in threads."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[_Asked] = []
        self._num_running = 0

    async def ask(self, question: Callable[[Connection], Answer]) -> Answer:
        """What ``question`` answers; it gets a connection for reading, and must be quick, for others stand behind it."""
        loop = asyncio.get_running_loop()
        asked = _Asked(question, loop.create_future())
        self._waiting.append(asked)
        if self._num_running < (1 if self._db.is_sqlite else MAX_RUNNING):
            self._start(loop)
        answer: Answer = await asked.answer
        return answer

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        self._num_running += 1
        loop.run_in_executor(None, self._work, loop, batch)

    def _work(self, loop: asyncio.AbstractEventLoop, batch: list[_Asked]) -> None:
        loop.call_soon_threadsafe(self._deliver, loop, self._answer(batch))

    def _answer(self, batch: list[_Asked]) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        try:
            with self._db.read() as tx:
                for asked in batch:
                    outcomes.append(_outcome(asked, tx))
        except Exception as error:  # why: handed on to all who were to be answered
            answered = len(outcomes)
            outcomes += [_Outcome(asked, error=error) for asked in batch[answered:]]
        return outcomes

    def _deliver(self, loop: asyncio.AbstractEventLoop, outcomes: list[_Outcome]) -> None:
        self._num_running -= 1
        if self._waiting:
            self._start(loop)
        for outcome in outcomes:
            future = outcome.asked.answer
            if future.done():  # its caller has gone
                continue
            if outcome.error is None:
                future.set_result(outcome.answer)
            else:
                future.set_exception(outcome.error)


def _outcome(asked: _Asked, tx: Connection) -> _Outcome:
    """Domain errors concern the one who asked; a broken ledger concerns the whole batch, and is raised."""
    try:
        return _Outcome(asked, asked.question(tx))
    except TrainyardError as error:
        return _Outcome(asked, error=error)
