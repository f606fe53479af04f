"""Rows that stand twice, rows that lack something, cells that do."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from core.recipes.dataset_preparation import DropDuplicates, DropMissing, Impute
from trainer.data.cells import is_missing
from trainer.errors import InvalidData
from trainer.prepare.frame import Done, Frame, Rows, is_text, numbers_of, training_rows, with_numbers

STAYS = {"test": 0, "validation": 1, "train": 2, None: 2}  # a row that is tested on must not be learned from


def drop_duplicates(frame: Frame, step: DropDuplicates) -> Done:
    columns = [frame.cells(name) for name in step.columns or frame.table.column_names]
    kept = distinct([repr(row) for row in zip(*columns, strict=True)], frame.parts)
    return Done(frame.take(kept), num_changed=frame.num_rows - len(kept))


def distinct(keys: Sequence[Hashable], parts: Sequence[str | None]) -> Rows:
    """Positions, ascending, of one of all that have the same key: the first in the split that comes first in ``STAYS``."""
    best: dict[Hashable, int] = {}
    for position, key in enumerate(keys):
        known = best.setdefault(key, position)
        if STAYS[parts[position]] < STAYS[parts[known]]:
            best[key] = position
    return np.array(sorted(best.values()), dtype=np.int64)


def drop_missing(frame: Frame, step: DropMissing) -> Done:
    gaps = np.zeros(frame.num_rows, dtype=bool)
    for name in step.columns or frame.table.column_names:
        gaps |= np.array([is_missing(cell) for cell in frame.cells(name)], dtype=bool)
    return Done(frame.take(np.flatnonzero(~gaps)), num_changed=int(gaps.sum()))


def impute(frame: Frame, step: Impute) -> Done:
    """InvalidData when the training rows of a column hold nothing to learn from."""
    fitted: dict[str, Any] = {}
    num_changed = 0
    for name in step.columns:
        missing = np.array([is_missing(cell) for cell in frame.cells(name)], dtype=bool)
        if step.by in ("mean", "median"):
            values = numbers_of(frame, name)
            known = values[training_rows(frame.parts) & ~missing]
            _check_known(name, len(known))
            fill: Any = float(np.mean(known) if step.by == "mean" else np.median(known))
            frame = with_numbers(frame, name, np.where(missing, fill, values), missing)
        else:
            fill = step.value if step.by == "constant" else _mode(frame, name)
            frame = _filled(frame, name, fill)
        fitted[name] = fill if isinstance(fill, str | int | float | bool) else str(fill)
        num_changed += int(missing.sum())
    return Done(frame, num_changed, fitted)


def _mode(frame: Frame, name: str) -> Any:
    """The most frequent training value; of several the smallest."""
    training = training_rows(frame.parts)
    cells = [cell for cell, counts in zip(frame.cells(name), training, strict=True) if counts and not is_missing(cell)]
    _check_known(name, len(cells))
    try:
        counts = Counter(cells)
    except TypeError:
        raise InvalidData([f"column {name!r} holds lists or objects, of which there is no most frequent one"]) from None
    most = max(counts.values())
    return min((cell for cell, num in counts.items() if num == most), key=lambda cell: (str(type(cell)), cell))


def _check_known(name: str, num: int) -> None:
    if not num:
        raise InvalidData([f"column {name!r} has no value in the training rows to learn from"])


def _filled(frame: Frame, name: str, fill: Any) -> Frame:
    kind = frame.table.schema.field(name).type
    if is_text(frame.table, name) and not isinstance(fill, str):
        fill = str(fill)
    try:
        cells = pa.array([fill if is_missing(cell) else cell for cell in frame.cells(name)], kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        raise InvalidData([f"{fill!r} does not fit column {name!r}, which holds {kind}"]) from None
    return frame.replace(name, cells)
