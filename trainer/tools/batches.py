"""Rows through a predictor, many at once; one that cannot be used spoils itself alone."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from trainer.predict.predictor import BadInput, Record
from trainer.predict.rows import Row

Found = TypeVar("Found")


def batches_of(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def each_or_problem(
    use: Callable[[Sequence[Record]], Sequence[Found]], rows: Sequence[Row]
) -> Iterator[tuple[Row, Found | None, str | None]]:
    """Every row in its order, with what ``use`` finds for its record, or with what is wrong with it."""
    usable = iter(_tried(use, [row for row in rows if row.problem is None]))
    for row in rows:
        yield (row, *next(usable)) if row.problem is None else (row, None, row.problem)


def _tried(use: Callable[[Sequence[Record]], Sequence[Found]], rows: Sequence[Row]) -> list[tuple[Found | None, str | None]]:
    """In halves when one of them cannot be used, until it stands alone."""
    if not rows:
        return []
    try:
        return [(found, None) for found in use([row.record for row in rows])]
    except BadInput as error:
        if len(rows) == 1:
            return [(None, str(error))]
    middle = len(rows) // 2
    return _tried(use, rows[:middle]) + _tried(use, rows[middle:])
