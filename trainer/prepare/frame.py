"""A table on its way through the steps: how its rows are read, batch after batch, and the split of each row.

No step holds rows. What needs all of them reads a pass and keeps a number, a digest or a class of each; what changes rows
describes how, and they are changed while they are read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.data.cells import as_category, as_number, is_missing
from trainer.errors import InvalidData

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Parts = list[str | None]
Names = Sequence[str] | None
Read = Callable[[Names], Iterator[pa.Table]]

BATCH = 4096  # rows that are in memory at once


@dataclass(frozen=True, slots=True)
class Frame:
    """``parts`` has train, validation, test or None for each row. Cells of CSV and TSV are texts, so that none changes unasked.

    ``read(names)`` begins a pass over these columns (None: all), in batches of no certain size; each call is a new pass.
    """

    schema: pa.Schema
    parts: Parts
    read: Read

    @classmethod
    def of(cls, table: pa.Table, parts: Parts) -> "Frame":
        """Of a table that is in memory."""
        return cls(table.schema, parts, lambda names: _slices(table if names is None else table.select(names)))

    @property
    def num_rows(self) -> int:
        return len(self.parts)

    @property
    def names(self) -> list[str]:
        found: list[str] = self.schema.names
        return found

    def kind(self, name: str) -> pa.DataType:
        return self.schema.field(name).type

    def is_text(self, name: str) -> bool:
        return bool(pa.types.is_string(self.kind(name)) or pa.types.is_large_string(self.kind(name)))

    def cells(self, name: str) -> Iterator[Any]:
        for batch in self.read([name]):
            yield from batch.column(name).to_pylist()

    def rows(self, names: Names = None) -> Iterator[tuple[Any, ...]]:
        for batch in self.read(names):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def whole(self) -> pa.Table:
        """All rows in memory."""
        return pa.concat_tables([self.schema.empty_table(), *self.read(None)])

    def take(self, rows: Rows) -> "Frame":
        """These rows, ascending; one may come more than once."""

        def read(names: Names) -> Iterator[pa.Table]:
            start = 0
            for batch in self.read(names):
                low, high = np.searchsorted(rows, (start, start + batch.num_rows)).tolist()
                if high > low:
                    yield batch.take(pa.array(rows[low:high] - start, pa.int64()))
                start += batch.num_rows

        return Frame(self.schema, [self.parts[row] for row in rows.tolist()], read)

    def replace(self, name: str, kind: pa.DataType, change: Callable[[pa.ChunkedArray, int], pa.Array]) -> "Frame":
        """``change`` gives the new cells of a batch by its old ones and the number of its first row."""

        def read(names: Names) -> Iterator[pa.Table]:
            start = 0
            for batch in self.read(names):
                place = batch.column_names.index(name) if name in batch.column_names else None
                yield batch if place is None else batch.set_column(place, name, change(batch.column(place), start))
                start += batch.num_rows

        return Frame(self.schema.set(self.names.index(name), pa.field(name, kind)), self.parts, read)

    def select(self, names: dict[str, str]) -> "Frame":
        """{name afterwards: name before}: these columns, in this order."""

        def read(asked: Names) -> Iterator[pa.Table]:
            after = list(names if asked is None else asked)
            for batch in self.read([names[name] for name in after]):
                yield batch.rename_columns(after)

        schema = pa.schema([self.schema.field(before).with_name(name) for name, before in names.items()])
        return Frame(schema, self.parts, read)


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, BATCH):
        yield table.slice(start, BATCH)


@dataclass(frozen=True, slots=True)
class Done:
    """A step's result. ``fitted`` is what it learned, by column."""

    frame: Frame
    num_changed: int = 0
    fitted: dict[str, Any] = field(default_factory=dict)


def training_rows(parts: Sequence[str | None]) -> Mask:
    """What may be learned from: the training split, or everything where there are no splits. Rows that no split has are training rows."""
    has_splits = any(parts)
    return np.array([not has_splits or part in (None, "train") for part in parts], dtype=bool)


def numbers_of(frame: Frame, name: str) -> Floats:
    """NaN where nothing stands. InvalidData when something else than numbers does."""
    problem = problem_of_numbers(name, frame.cells(name))
    if problem is not None:
        raise InvalidData([problem])
    return np.concatenate([np.zeros(0), *(floats(batch.column(0)) for batch in frame.read([name]))])


def floats(cells: pa.ChunkedArray) -> Floats:
    """NaN for what is no number."""
    return np.array([np.nan if is_missing(cell) else _number(cell) for cell in cells.to_pylist()], dtype=np.float64)


def problem_of_numbers(name: str, cells: Iterable[Any], where: Callable[[int], str] | None = None) -> str | None:
    """``where`` words the place of a row, for the first that is none."""
    num, first, place = 0, None, ""
    for row, cell in enumerate(cells):
        if not is_missing(cell) and not np.isfinite(_number(cell)):
            if not num:
                first, place = str(cell)[:80], "" if where is None else f", in {where(row)}"
            num += 1
    return f"column {name!r} holds {num:,} cells that are no finite numbers, the first is {first!r}{place}" if num else None


def _number(cell: Any) -> float:
    """NaN for what is none."""
    number = as_number(plain(cell))
    return float("nan") if number is None else number


def with_numbers(frame: Frame, name: str, change: Callable[[Floats], tuple[Floats, Mask]]) -> Frame:
    """``change`` gives new numbers, and which differ. Texts keep the cells that do not as they are written; other columns become double."""
    is_text = frame.is_text(name)
    kind = frame.kind(name) if is_text else pa.float64()

    def changed(cells: pa.ChunkedArray, start: int) -> pa.Array:
        values, differs = change(floats(cells))
        if not is_text:
            return pa.array(values, kind, from_pandas=True)
        pairs = zip(cells.to_pylist(), values.tolist(), differs, strict=True)
        return pa.array([repr(value) if new else cell for cell, value, new in pairs], kind)

    return frame.replace(name, kind, changed)


def categories_of(frame: Frame, name: str) -> list[str | None]:
    """None where nothing stands. Each different one is held once."""
    known: dict[str, str] = {}
    found = (None if is_missing(cell) else as_category(plain(cell)) for cell in frame.cells(name))
    return [None if category is None else known.setdefault(category, category) for category in found]


def plain(cell: Any) -> Any:
    """Dates and times as ISO 8601, decimals and the like as they print."""
    if isinstance(cell, date | time):
        return cell.isoformat()
    return cell if isinstance(cell, str | int | float | bool) or cell is None else str(cell)
