"""Rows that stand twice, rows that lack something, cells that do."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.recipes.dataset_preparation import DropDuplicates, DropMissing, Impute
from trainer.data.cells import is_missing
from trainer.errors import InvalidData
from trainer.prepare.frame import Done, Frame, Rows, numbers_of, training_rows, with_numbers

STAYS = {"test": 0, "validation": 1, "train": 2, None: 2}  # a row that is tested on must not be learned from
KEY_BYTES = 16


def drop_duplicates(frame: Frame, step: DropDuplicates) -> Done:
    kept = distinct((key_of(repr(row)) for row in frame.rows(list(step.columns or frame.names))), frame.parts)
    return Done(frame.take(kept), num_changed=frame.num_rows - len(kept))


def key_of(content: bytes | str) -> bytes:
    encoded = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=KEY_BYTES).digest()


def distinct(keys: Iterable[bytes], parts: Sequence[str | None]) -> Rows:
    """Positions, ascending, of one of all that have the same key (``key_of``): the first in the split that comes first in ``STAYS``."""
    halves = _as_numbers(keys)
    stays = np.array([STAYS[part] for part in parts], dtype=np.int8)
    order = np.lexsort((np.arange(len(parts)), stays, halves[:, 1], halves[:, 0]))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1)
    rows: Rows = np.sort(order[is_first]).astype(np.int64)
    return rows


def _as_numbers(keys: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    """(n, 2): no object is kept for a key."""
    joined = bytearray()
    for key in keys:
        joined += key
    return np.frombuffer(bytes(joined), dtype=np.uint64).reshape(-1, 2)


def drop_missing(frame: Frame, step: DropMissing) -> Done:
    kept = np.array([not any(map(is_missing, row)) for row in frame.rows(list(step.columns or frame.names))], dtype=bool)
    return Done(frame.take(np.flatnonzero(kept)), num_changed=int((~kept).sum()))


def impute(frame: Frame, step: Impute) -> Done:
    """InvalidData when the training rows of a column hold nothing to learn from."""
    fitted: dict[str, Any] = {}
    num_changed = 0
    for name in step.columns:
        num_missing = sum(map(is_missing, frame.cells(name)))
        if step.by in ("mean", "median"):
            fill = _middle(frame, name, step)
            frame = _filled_with_number(frame, name, fill)
        else:
            fill = step.value if step.by == "constant" else _mode(frame, name)
            frame = _filled(frame, name, fill)
        fitted[name] = fill if isinstance(fill, str | int | float | bool) else str(fill)
        num_changed += num_missing
    return Done(frame, num_changed, fitted)


def _middle(frame: Frame, name: str, step: Impute) -> Any:
    values = numbers_of(frame, name)
    known = values[training_rows(frame.parts) & ~np.isnan(values)]
    _check_known(name, len(known))
    return float(np.mean(known) if step.by == "mean" else np.median(known))


def _filled_with_number(frame: Frame, name: str, fill: float) -> Frame:
    return with_numbers(frame, name, lambda values: (np.where(np.isnan(values), fill, values), np.isnan(values)))


def _mode(frame: Frame, name: str) -> Any:
    """The most frequent training value; of several the smallest."""
    training = training_rows(frame.parts)
    try:
        counts = Counter(cell for cell, counts in zip(frame.cells(name), training, strict=True) if counts and not is_missing(cell))
    except TypeError:
        raise InvalidData([f"column {name!r} holds lists or objects, of which there is no most frequent one"]) from None
    _check_known(name, len(counts))
    most = max(counts.values())
    return min((cell for cell, num in counts.items() if num == most), key=lambda cell: (str(type(cell)), cell))


def _check_known(name: str, num: int) -> None:
    if not num:
        raise InvalidData([f"column {name!r} has no value in the training rows to learn from"])


def _filled(frame: Frame, name: str, fill: Any) -> Frame:
    kind = frame.kind(name)
    if frame.is_text(name) and not isinstance(fill, str):
        fill = str(fill)
    try:
        pa.array([fill], kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        raise InvalidData([f"{fill!r} does not fit column {name!r}, which holds {kind}"]) from None

    def filled(cells: pa.ChunkedArray, start: int) -> pa.Array:
        return pa.array([fill if is_missing(cell) else cell for cell in cells.to_pylist()], kind)

    return frame.replace(name, kind, filled)
