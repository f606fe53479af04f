"""Rows that are too short or too long."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from core.recipes.dataset_preparation import DropByLength
from trainer.errors import InvalidData
from trainer.prepare.frame import Done, Frame
from trainer.prepare.sounds import Sounds, seconds_of


def drop_by_length(frame: Frame, step: DropByLength, usual: str | None, sounds: Sounds | None) -> Done:
    """``usual``: the column that is measured where the step names none."""
    kept = np.array([_fits(length, step) for length in _lengths(frame, step, usual, sounds)], dtype=bool)
    return Done(frame.take(np.flatnonzero(kept)), num_changed=int((~kept).sum()))


def _fits(length: float, step: DropByLength) -> bool:
    return (step.min is None or length >= step.min) and (step.max is None or length <= step.max)


def _lengths(frame: Frame, step: DropByLength, usual: str | None, sounds: Sounds | None) -> Iterator[float]:
    if step.unit == "seconds":
        if sounds is None:
            raise InvalidData(["the rows name no recordings"])
        yield from seconds_of(frame, step.column, sounds)
        return
    column = step.column or usual
    if column is None or column not in frame.names:
        raise InvalidData(["column must say which is measured"])
    for row, cell in enumerate(frame.cells(column), 1):
        if not (cell is None or isinstance(cell, str | list)):
            raise InvalidData([f"row {row}, column {column!r}: it is neither a text nor a list of words"])
        yield _length(cell, step.unit)


def _length(cell: Any, unit: str) -> float:
    """Of nothing 0; a list of words has as many, and the characters of all of them."""
    if unit == "words":
        return len(cell if isinstance(cell, list) else (cell or "").split())
    return sum(len(str(word)) for word in cell) if isinstance(cell, list) else len(cell or "")
