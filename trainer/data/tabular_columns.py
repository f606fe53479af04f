"""What the columns of a table are: the target, numbers, categories, or nothing to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.recipes.tabular import Data
from trainer.data.cells import as_category, as_number, is_missing
from trainer.data.findings import Findings
from trainer.data.table import Table, listed

Kind = Literal["classification", "regression"]

TARGET_NAMES = ("target", "label", "class", "species", "outcome", "y")
NUMERIC_SHARE = 0.99  # of the cells that hold something; the others then are mistakes
IDENTIFIER_SHARE = 0.9  # different texts per cell, from which on a column names rows
MIN_IDENTIFIERS = 20  # a column of fewer rows says too little about itself
MAX_NUMBERED_CLASSES = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Names, each list in the order of the file."""

    target: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]

    @property
    def features(self) -> tuple[str, ...]:
        return (*self.numeric, *self.categorical)


def choose_columns(table: Table, knobs: Data, findings: Findings) -> Columns:
    """Findings name the columns that are asked for and do not exist, and count those that are left out."""
    named = (*knobs.ignored_columns, *knobs.numeric_columns, *knobs.categorical_columns)
    for name in dict.fromkeys(named):
        table.column(name, findings)
    target = find_target(table, knobs, findings)
    ignored = {target, *knobs.ignored_columns, *_structural(knobs)}
    found: dict[str, list[str]] = {"numeric": [], "categorical": []}
    for name, cells in table.columns.items():
        if name in ignored:
            continue
        kind = _asked(name, knobs) or kind_of(cells)
        if kind in found:
            found[kind].append(name)
        else:
            findings.count(f"column {name!r} left out: {kind}")
    if not any(found.values()) and not findings.has_fatal:
        findings.fatal(f"beside the target {target!r} there is no column to learn from; the columns are {listed(table.columns)}")
    return Columns(target, tuple(found["numeric"]), tuple(found["categorical"]))


def find_target(table: Table, knobs: Data, findings: Findings) -> str:
    if knobs.target_column is not None:
        table.column(knobs.target_column, findings)
        return knobs.target_column
    taken = {*knobs.ignored_columns, *_structural(knobs)}
    names = [name for name in table.columns if name not in taken]
    by_name = {name.strip().lower(): name for name in names}
    return next((by_name[name] for name in TARGET_NAMES if name in by_name), names[-1] if names else "target")


def kind_of(cells: Sequence[Any]) -> str:
    """``numeric`` or ``categorical``, or why the column is of no use."""
    present = [cell for cell in cells if not is_missing(cell)]
    if any(isinstance(cell, list | dict | bytes) for cell in present):
        return "it holds lists, objects or bytes"
    values = {as_category(cell) for cell in present}
    if len(values) < 2:
        return "it has one value only" if values else "it is empty"
    if sum(as_number(cell) is not None for cell in present) >= NUMERIC_SHARE * len(present):
        return "numeric"
    if len(present) >= MIN_IDENTIFIERS and len(values) >= IDENTIFIER_SHARE * len(present):
        return "it has another text in almost every row"
    return "categorical"


def kind_of_target(cells: Sequence[Any]) -> Kind:
    """Numbers that are not whole, or more than 20 different ones, are quantities; everything else is a class."""
    present = [cell for cell in cells if not is_missing(cell)]
    numbers = [number for number in map(as_number, present) if number is not None]
    if not present or len(numbers) < NUMERIC_SHARE * len(present):
        return "classification"
    whole = all(number.is_integer() for number in numbers)
    return "classification" if whole and len(set(numbers)) <= MAX_NUMBERED_CLASSES else "regression"


def _structural(knobs: Data) -> set[str | None]:
    """Columns that say how to split; they are no properties of a row."""
    return {knobs.split_column, knobs.group_column, knobs.time_column if knobs.split == "time" else None}


def _asked(name: str, knobs: Data) -> str | None:
    if name in knobs.numeric_columns:
        return "numeric"
    return "categorical" if name in knobs.categorical_columns else None
