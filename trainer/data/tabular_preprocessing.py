"""From the cells of a table to what a tabular model takes, as learned from the training rows; goes into config.json whole.

N rows, F numbers (the numeric columns in order, then an indicator for each that lacked something), C categories.
Category numbers: 0 is unknown, 1 is missing, then the known ones, then the hash buckets.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from core.recipes.tabular import Data
from trainer.data.cells import as_category, as_number, is_missing
from trainer.data.findings import Findings
from trainer.data.table import Where
from trainer.data.tabular_columns import Columns
from trainer.data.tabular_scaling import NumericColumn, fit_numeric, numeric_from_json

UNKNOWN, MISSING = 0, 1
NUM_SPECIAL = 2

Cells = Mapping[str, Sequence[Any]]
Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


class Features(NamedTuple):
    numbers: npt.NDArray[np.float32]  # (N, F)
    categories: npt.NDArray[np.int64]  # (N, C)


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """``fill``: the category that stands in for missing cells; None: missing is one of its own."""

    name: str
    values: tuple[str, ...]
    num_buckets: int
    fill: str | None

    @property
    def cardinality(self) -> int:
        return NUM_SPECIAL + len(self.values) + self.num_buckets

    def apply(self, cells: Sequence[Any]) -> Rows:
        known = {value: NUM_SPECIAL + position for position, value in enumerate(self.values)}
        return np.array([self._number(cell, known) for cell in cells], dtype=np.int64)

    def _number(self, cell: Any, known: dict[str, int]) -> int:
        if is_missing(cell):
            return MISSING if self.fill is None else known[self.fill]
        category = as_category(cell)
        if category in known:
            return known[category]
        return NUM_SPECIAL + len(self.values) + _hash(category) % self.num_buckets if self.num_buckets else UNKNOWN


@dataclass(frozen=True, slots=True)
class Preprocessing:
    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.numeric] + [column.name for column in self.categorical]

    @property
    def num_numbers(self) -> int:
        return len(self.numeric) + sum(column.indicator for column in self.numeric)

    @property
    def cardinalities(self) -> list[int]:
        return [column.cardinality for column in self.categorical]

    def apply(self, cells: Cells, num_rows: int) -> Features:
        """``cells`` by column; numeric cells have been looked at (``check_numbers``): what is no finite number is missing."""
        raw = [as_floats(cells[column.name]) for column in self.numeric]
        numbers = [column.apply(values) for column, values in zip(self.numeric, raw, strict=True)]
        numbers += [np.isnan(values).astype(np.float64) for column, values in zip(self.numeric, raw, strict=True) if column.indicator]
        categories = [column.apply(cells[column.name]) for column in self.categorical]
        return Features(
            numbers=np.stack(numbers, axis=1).astype(np.float32) if numbers else np.zeros((num_rows, 0), np.float32),
            categories=np.stack(categories, axis=1) if categories else np.zeros((num_rows, 0), np.int64),
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def preprocessing_from_json(content: dict[str, Any]) -> Preprocessing:
    return Preprocessing(
        numeric=tuple(numeric_from_json(column) for column in content["numeric"]),
        categorical=tuple(CategoricalColumn(**{**column, "values": tuple(column["values"])}) for column in content["categorical"]),
    )


def fit_preprocessing(cells: Cells, columns: Columns, train: Rows, knobs: Data) -> Preprocessing:
    """Learned from the rows ``train`` alone."""
    return Preprocessing(
        numeric=tuple(fit_numeric(name, as_floats(cells[name])[train], knobs) for name in columns.numeric),
        categorical=tuple(fit_categorical(name, [cells[name][row] for row in train.tolist()], knobs) for name in columns.categorical),
    )


def fit_categorical(name: str, cells: Sequence[Any], knobs: Data) -> CategoricalColumn:
    """Known are the most frequent categories; of equally frequent ones those that come first by name."""
    counts = Counter(as_category(cell) for cell in cells if not is_missing(cell))
    by_frequency = sorted(counts, key=lambda value: (-counts[value], value))
    return CategoricalColumn(
        name=name,
        values=tuple(sorted(by_frequency[: knobs.max_categories])),
        num_buckets=knobs.hash_buckets if len(counts) > knobs.max_categories else 0,
        fill=by_frequency[0] if knobs.impute_categories == "most_frequent" and by_frequency else None,
    )


def as_floats(cells: Sequence[Any]) -> Numbers:
    """NaN for what is missing or no finite number."""
    numbers = (None if is_missing(cell) else as_number(cell) for cell in cells)
    values = np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)
    values[np.isinf(values)] = np.nan
    return values


def check_numbers(name: str, cells: Sequence[Any], where: Callable[[int], Where], findings: Findings) -> list[int]:
    """Positions of cells in a numeric column that hold something else; each is a bad row. ``where(position)`` tells its place."""
    wrong = []
    for position, cell in enumerate(cells):
        if is_missing(cell):
            continue
        number = as_number(cell)
        if number is None or not np.isfinite(number):
            findings.bad_row(f"{cell!r} is not a {'number' if number is None else 'finite number'}", **where(position), column=name)
            wrong.append(position)
    return wrong


def _hash(category: str) -> int:
    """The same on every machine and in every process."""
    return int.from_bytes(hashlib.blake2b(category.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
