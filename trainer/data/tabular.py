"""A table read, checked, split and made ready for a model: everything that happens before training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.recipes.tabular import Data
from trainer.data.cells import as_category, as_number, is_missing
from trainer.data.findings import Findings
from trainer.data.folds import fold_parts
from trainer.data.leaks import drop_or_report_leaks
from trainer.data.splits import Splits, make_splits
from trainer.data.table import Table, read_table
from trainer.data.tabular_columns import Columns, Kind, choose_columns, find_target, kind_of_target
from trainer.data.tabular_preprocessing import Features, Preprocessing, as_floats, check_numbers, fit_preprocessing, preprocessing_from_json

Targets = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TabularData:
    """``targets``: class numbers, or float64 in their own unit. ``labels``: names of the classes, empty in regression."""

    kind: Kind
    columns: Columns
    labels: tuple[str, ...]
    targets: Targets
    features: Features
    preprocessing: Preprocessing
    splits: Splits


def read_tabular(root: Path, knobs: Data, *, seed: int, findings: Findings, base: dict[str, Any] | None = None) -> TabularData:
    """Raises InvalidData with all that is wrong. ``base``: the preprocessing of a base model, which then decides about columns."""
    table = read_table(root, findings, split_column=knobs.split_column)
    known = preprocessing_from_json(base) if base else None
    columns = columns_of(known, table, knobs, findings) if known else choose_columns(table, knobs, findings)
    findings.settle("drop")
    kind = kind_of_target(table.columns[columns.target]) if knobs.kind == "auto" else knobs.kind
    table = without_bad_rows(table, columns, kind, knobs, findings)
    findings.settle(knobs.on_bad_rows)
    cells = table.columns[columns.target]
    labels = label_names(cells) if kind == "classification" else ()
    targets = class_numbers(cells, labels) if labels else as_floats(cells)
    splits = split(table, targets, labels, knobs, seed=seed, findings=findings)
    splits = drop_or_report_leaks(splits, row_keys(table, columns), knobs, findings)
    findings.settle(knobs.on_bad_rows)
    preprocessing = known or fit_preprocessing(table.columns, columns, splits.train, knobs)
    count_what_changes(table, preprocessing, findings)
    return TabularData(
        kind=kind,
        columns=columns,
        labels=labels,
        targets=targets,
        features=preprocessing.apply(table.columns, table.num_rows),
        preprocessing=preprocessing,
        splits=splits,
    )


def columns_of(known: Preprocessing, table: Table, knobs: Data, findings: Findings) -> Columns:
    """Those that a base model looks at; findings name what is missing."""
    columns = Columns(
        target=find_target(table, knobs, findings),
        numeric=tuple(column.name for column in known.numeric),
        categorical=tuple(column.name for column in known.categorical),
    )
    for name in known.names:
        table.column(name, findings)
    return columns


def without_bad_rows(table: Table, columns: Columns, kind: Kind, knobs: Data, findings: Findings) -> Table:
    """Bad rows: a target that is missing or no finite number, text among numbers. Rows with gaps go where that is asked for."""
    bad = set(check_targets(table, columns.target, kind, findings))
    for name in columns.numeric:
        bad.update(check_numbers(name, table.columns[name], table.where, findings))
    keep = np.ones(table.num_rows, dtype=bool)
    keep[list(bad)] = False
    if knobs.missing == "drop":
        gaps = np.array(
            [any(is_missing(table.columns[name][row]) for name in columns.features) for row in range(table.num_rows)], dtype=bool
        )
        findings.count("rows with missing values dropped", int((gaps & keep).sum()))
        keep &= ~gaps
    if not keep.any() and not findings.num_bad_rows:
        findings.fatal("every row lacks something, and data.missing says to drop such rows")
    return table if keep.all() else table.keep(keep)


def check_targets(table: Table, name: str, kind: Kind, findings: Findings) -> list[int]:
    wrong = []
    for position, cell in enumerate(table.columns[name]):
        if is_missing(cell):
            what = "the target is NaN" if str(cell).strip().lower() == "nan" else "the target is missing"
        elif isinstance(cell, list | dict | bytes):
            what = "the target is a list, an object or bytes"
        elif kind == "regression" and not _is_finite(cell):
            what = f"the target {cell!r} is not a finite number"
        else:
            continue
        findings.bad_row(what, **table.where(position), column=name)
        wrong.append(position)
    return wrong


def _is_finite(cell: Any) -> bool:
    number = as_number(cell)
    return number is not None and bool(np.isfinite(number))


def label_names(cells: list[Any]) -> tuple[str, ...]:
    """In the order of numbers when all are numbers, else of texts."""
    names = {as_category(cell) for cell in cells}
    numbers = {name: as_number(name) for name in names}
    if all(number is not None for number in numbers.values()):
        return tuple(sorted(names, key=lambda name: numbers[name] or 0.0))
    return tuple(sorted(names))


def class_numbers(cells: list[Any], labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
    number_of = {label: number for number, label in enumerate(labels)}
    return np.array([number_of[as_category(cell)] for cell in cells], dtype=np.int64)


def split(table: Table, targets: Targets, labels: tuple[str, ...], knobs: Data, *, seed: int, findings: Findings) -> Splits:
    """A fold is a given test split; validation is carved out of the other rows."""
    if len(labels) == 1:
        findings.fatal(f"every row has the target {labels[0]!r}; there is nothing to tell apart")
    classes = targets.astype(np.int64) if labels else None
    parts = table.parts
    if knobs.fold is not None:
        parts = fold_parts(table.num_rows, classes if knobs.split != "ratio" else None, seed=seed, **knobs.fold.model_dump())
        knobs = knobs.model_copy(update={"split": "auto"})
    return make_splits(
        table.num_rows,
        knobs,
        seed=seed,
        findings=findings,
        labels=classes,
        label_names=labels or None,
        parts=parts,
        groups=table.column(knobs.group_column, findings) if knobs.split == "group" and knobs.group_column else None,
        times=table.column(knobs.time_column, findings) if knobs.split == "time" and knobs.time_column else None,
    )


def row_keys(table: Table, columns: Columns) -> list[bytes]:
    """All of a row that is learned from, target included."""
    used = [table.columns[name] for name in (*columns.features, columns.target)]
    return [repr(row).encode("utf-8", "surrogatepass") for row in zip(*used, strict=True)]


def count_what_changes(table: Table, preprocessing: Preprocessing, findings: Findings) -> None:
    for numeric in preprocessing.numeric:
        values = as_floats(table.columns[numeric.name])
        _count(findings, f"missing values imputed in {numeric.name}", np.isnan(values))
        outside = (values < (-np.inf if numeric.low is None else numeric.low)) | (
            values > (np.inf if numeric.high is None else numeric.high)
        )
        _count(findings, f"outliers clipped in {numeric.name}", outside)
    for categorical in preprocessing.categorical:
        numbers = categorical.apply(table.columns[categorical.name])
        _count(findings, f"unknown categories in {categorical.name}", numbers == 0)
        _count(findings, f"missing values in {categorical.name}", np.array([is_missing(cell) for cell in table.columns[categorical.name]]))


def _count(findings: Findings, name: str, mask: npt.NDArray[np.bool_]) -> None:
    if mask.any():
        findings.count(name, int(mask.sum()))
