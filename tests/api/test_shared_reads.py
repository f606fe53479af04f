"""Reads that come together are answered together, each with its own answer or its own error."""

import asyncio

import pytest
from sqlalchemy import Connection, text

from api.shared_reads import SharedReads
from core.db.engine import Database
from core.errors import NotFound


def test_each_caller_gets_its_own_answer_or_error(db: Database) -> None:
    def question(number: int, tx: Connection) -> int:
        if number % 7 == 0:
            raise NotFound(f"no {number}")
        return int(tx.execute(text("select 2 * :number"), {"number": number}).scalar_one())

    async def story() -> list[int | BaseException]:
        reads = SharedReads(db)
        asked = (reads.ask(lambda tx, number=number: question(number, tx)) for number in range(100))  # type: ignore[misc]
        return await asyncio.gather(*asked, return_exceptions=True)

    for number, answer in enumerate(asyncio.run(story())):
        if number % 7 == 0:
            assert isinstance(answer, NotFound)
            assert answer.message == f"no {number}"
        else:
            assert answer == 2 * number


def test_a_mistake_in_one_question_leaves_nobody_waiting(db: Database) -> None:
    async def story() -> list[object]:
        reads = SharedReads(db)
        good, bad = reads.ask(lambda tx: tx.scalar(text("select 1"))), reads.ask(lambda tx: tx.scalar(text("select nonsense from nowhere")))
        first = await asyncio.gather(good, bad, reads.ask(lambda tx: 3), return_exceptions=True)
        return [*first, await reads.ask(lambda tx: 4)]

    async def in_time() -> list[object]:
        async with asyncio.timeout(10):
            return await story()

    answers = asyncio.run(in_time())
    assert answers[0] == 1
    assert isinstance(answers[1], Exception)
    assert answers[3] == 4


def test_a_caller_that_went_away_does_not_hold_up_the_others(db: Database) -> None:
    async def story() -> int:
        reads = SharedReads(db)
        gone = asyncio.create_task(reads.ask(lambda tx: 1))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await reads.ask(lambda tx: 2)

    assert asyncio.run(story()) == 2
