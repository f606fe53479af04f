"""A table on its way through the steps: its cells, and the split of each row."""

from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True, slots=True)
class Frame:
    """``parts`` has train, validation, test or None for each row. Cells of CSV and TSV are texts, so that none changes unasked."""

    table: pa.Table
    parts: Parts

    @property
    def num_rows(self) -> int:
        return len(self.parts)

    def cells(self, name: str) -> list[Any]:
        found: list[Any] = self.table.column(name).to_pylist()
        return found

    def take(self, rows: Rows) -> "Frame":
        """These rows in this order; one may come more than once."""
        return Frame(self.table.take(pa.array(rows, pa.int64())), [self.parts[row] for row in rows.tolist()])

    def replace(self, name: str, cells: pa.Array) -> "Frame":
        return Frame(self.table.set_column(self.table.column_names.index(name), name, cells), self.parts)

    def append(self, table: pa.Table, parts: Parts) -> "Frame":
        return Frame(pa.concat_tables([self.table, table]), [*self.parts, *parts])


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


def is_text(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def numbers_of(frame: Frame, name: str) -> Floats:
    """NaN where nothing stands. InvalidData when something else than numbers does."""
    cells = frame.cells(name)
    problem = problem_of_numbers(name, cells)
    if problem is not None:
        raise InvalidData([problem])
    return np.array([np.nan if is_missing(cell) else _number(cell) for cell in cells], dtype=np.float64)


def problem_of_numbers(name: str, cells: Iterable[Any]) -> str | None:
    strangers = [cell for cell in cells if not is_missing(cell) and not np.isfinite(_number(cell))]
    if not strangers:
        return None
    return f"column {name!r} holds {len(strangers):,} cells that are no finite numbers, the first is {str(strangers[0])[:80]!r}"


def _number(cell: Any) -> float:
    """NaN for what is none."""
    number = as_number(plain(cell))
    return float("nan") if number is None else number


def with_numbers(frame: Frame, name: str, values: Floats, changed: Mask) -> Frame:
    """Texts keep the cells that did not change as they are written; columns of other types become double precision."""
    if is_text(frame.table, name):
        cells = [repr(value) if new else cell for cell, value, new in zip(frame.cells(name), values.tolist(), changed, strict=True)]
        return frame.replace(name, pa.array(cells, frame.table.schema.field(name).type))
    return frame.replace(name, pa.array(values, pa.float64(), from_pandas=True))


def categories_of(frame: Frame, name: str) -> list[str | None]:
    """None where nothing stands."""
    return [None if is_missing(cell) else as_category(plain(cell)) for cell in frame.cells(name)]


def plain(cell: Any) -> Any:
    """Dates and times as ISO 8601, decimals and the like as they print."""
    if isinstance(cell, date | time):
        return cell.isoformat()
    return cell if isinstance(cell, str | int | float | bool) or cell is None else str(cell)
