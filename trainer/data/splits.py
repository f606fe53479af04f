"""Training, validation and test rows, decided by the data and the seed alone."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from core.recipes.sections.data import DataKnobs
from trainer.data.findings import Findings
from trainer.data.moments import as_moments
from trainer.determinism import generator

Rows = npt.NDArray[np.int64]
MIN_ROWS = 3  # one for each split
_SPLIT_STREAM = 0x51  # keeps these draws apart from every other use of the same seed
_WHOLE, _GROUPS = 1 << 40, 1 << 41  # where a class number stands in the draws of a stratified split


@dataclass(frozen=True, slots=True)
class Splits:
    """Row numbers, ascending, disjoint."""

    train: Rows
    validation: Rows
    test: Rows

    def sizes(self) -> dict[str, int]:
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


class Fractions(NamedTuple):
    """Of the rows that are divided; 0 where a split is not wanted."""

    validation: float
    test: float


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of rows that may decide where they go; each None or one entry per row."""

    labels: npt.NDArray[np.int64] | None = None
    names: Sequence[str] | None = None
    groups: Sequence[Hashable] | None = None
    times: Sequence[Any] | None = None


def make_splits(
    num_rows: int,
    knobs: DataKnobs,
    *,
    seed: int,
    findings: Findings,
    labels: npt.NDArray[np.int64] | None = None,
    label_names: Sequence[str] | None = None,
    parts: Sequence[str | None] | None = None,
    groups: Sequence[Hashable] | None = None,
    times: Sequence[Any] | None = None,
) -> Splits:
    """The splits that ``knobs.split`` asks for.

    ``auto`` is ``given`` where ``parts`` place any row, else ``stratified`` where there are ``labels``, else ``ratio``.
    Of given splits, validation and test are carved out of the training rows where they are missing; rows that no part
    places are training rows. ``labels`` are class numbers from 0 (``label_names`` for messages); leave them out where a
    row has no single class. ``groups`` and ``times`` are the cells of the columns that the knobs name.
    Findings say what makes a split impossible; the result is of no use then.
    """
    rows = np.arange(num_rows, dtype=np.int64)
    if num_rows < MIN_ROWS:
        findings.fatal(f"{num_rows} rows cannot be split into training, validation and test")
        return Splits(rows, rows[:0], rows[:0])
    traits = Traits(labels, label_names, groups, times)
    places = None if parts is None or not any(parts) else parts
    if knobs.split == "given" and places is None:
        findings.fatal(f"split given: neither files nor a column {knobs.split_column!r} say which row belongs to which split")
    elif places is not None and knobs.split in ("auto", "given"):
        splits = _given(places, traits, knobs, seed, findings)
        _check_known(splits, traits, findings)
        return splits
    fractions = Fractions(knobs.validation_fraction, knobs.test_fraction)
    return _divide(rows, _kind(knobs, traits), traits, fractions, seed=seed, findings=findings)


def _kind(knobs: DataKnobs, traits: Traits) -> str:
    """How rows are divided that no given split places."""
    if knobs.split in ("auto", "given"):
        by_column = "group" if traits.groups is not None else "time" if traits.times is not None else None
        return by_column or ("ratio" if traits.labels is None else "stratified")
    return knobs.split


def _given(parts: Sequence[str | None], traits: Traits, knobs: DataKnobs, seed: int, findings: Findings) -> Splits:
    placed = {name: np.flatnonzero([part == name for part in parts]) for name in ("validation", "test")}
    train = np.flatnonzero([part is None or part == "train" for part in parts])
    wanted = Fractions(
        0.0 if len(placed["validation"]) else knobs.validation_fraction,
        0.0 if len(placed["test"]) else knobs.test_fraction,
    )
    if len(train) <= sum(share > 0 for share in wanted):
        findings.fatal(f"the training split has {len(train)} rows")
        return Splits(train, placed["validation"], placed["test"])
    if not any(wanted):
        return Splits(train, placed["validation"], placed["test"])
    carved = _divide(train, _kind(knobs, traits), traits, wanted, seed=seed, findings=findings)
    for name, rows in (("validation", carved.validation), ("test", carved.test)):
        if len(rows):
            findings.count(f"{name} rows carved out of the training split", len(rows))
            placed[name] = rows
    return Splits(carved.train, placed["validation"], placed["test"])


def _divide(rows: Rows, kind: str, traits: Traits, fractions: Fractions, *, seed: int, findings: Findings) -> Splits:
    """``rows`` in three; what is not wanted stays empty."""
    whole = Splits(rows, rows[:0], rows[:0])
    if kind == "stratified":
        if traits.labels is None:
            findings.fatal("split stratified: the rows of this dataset have no single class each; use ratio")
            return whole
        if _has_lonely_classes(rows, traits, findings):
            return whole
        return _stratified(rows, traits.labels, fractions, seed)
    if kind == "group":
        return _grouped(rows, traits.groups, fractions, seed, findings) or whole
    if kind == "time":
        moments = as_moments(traits.times, findings)
        return whole if moments is None else _cut(rows[np.argsort(moments[rows], kind="stable")[::-1]], fractions)
    return _cut(rows[_permutation(len(rows), seed, _WHOLE)], fractions)


def _permutation(num: int, *numbers: int) -> Rows:
    order: Rows = torch.randperm(num, generator=generator(numbers[0], _SPLIT_STREAM, *numbers[1:])).numpy()
    return order


def _sizes(num_rows: int, fractions: Fractions) -> tuple[int, int]:
    """Rows for validation and test: the share, rounded, one at least; training keeps one."""
    num_test = min(max(1, round(num_rows * fractions.test)), num_rows - 1) if fractions.test else 0
    left = num_rows - num_test - 1
    num_validation = min(max(1, round(num_rows * fractions.validation)), left) if fractions.validation else 0
    return num_validation, num_test


def _cut(ordered: Rows, fractions: Fractions) -> Splits:
    num_validation, num_test = _sizes(len(ordered), fractions)
    ends = (num_test, num_test + num_validation)
    return Splits(np.sort(ordered[ends[1] :]), np.sort(ordered[ends[0] : ends[1]]), np.sort(ordered[: ends[0]]))


def _stratified(rows: Rows, labels: npt.NDArray[np.int64], fractions: Fractions, seed: int) -> Splits:
    parts = []
    for label in np.flatnonzero(np.bincount(labels[rows])):  # np.unique would import numpy.ma, 20 ms before the first step
        own = rows[labels[rows] == label]
        parts.append(_cut(own[_permutation(len(own), seed, int(label))], fractions))
    return Splits(*(np.sort(np.concatenate([getattr(part, name) for part in parts])) for name in ("train", "validation", "test")))


def _has_lonely_classes(rows: Rows, traits: Traits, findings: Findings) -> bool:
    """A class with a single row cannot be both learned and tested."""
    assert traits.labels is not None
    lonely = np.flatnonzero(np.bincount(traits.labels[rows]) == 1)
    for label in lonely:
        findings.fatal(f"class {_name(traits, int(label))} has one row; it needs one to learn from and one to be tested on")
    return len(lonely) > 0


def _grouped(rows: Rows, groups: Sequence[Hashable] | None, fractions: Fractions, seed: int, findings: Findings) -> Splits | None:
    """Whole groups in a random order: the first ones are tested until their share is reached, the next ones validate."""
    if groups is None or any(groups[row] is None for row in rows):
        findings.fatal("split group: some rows have no value in the group column" if groups else "split group: there is no group column")
        return None
    members: dict[Hashable, list[int]] = {}
    for row in rows.tolist():
        members.setdefault(groups[row], []).append(row)
    needed = 1 + sum(share > 0 for share in fractions)
    if len(members) < needed:
        findings.fatal(f"split group: {len(members)} groups cannot be divided among {needed} splits")
        return None
    whole = list(members.values())
    queue = [whole[position] for position in _permutation(len(whole), seed, _GROUPS)]
    test = _take(queue, fractions.test * len(rows), num_left=needed - 1 if fractions.test else needed)
    validation = _take(queue, fractions.validation * len(rows), num_left=1)
    return Splits(_joined(queue), _joined(validation), _joined(test))


def _take(queue: list[list[int]], target: float, *, num_left: int) -> list[list[int]]:
    """Takes groups from the front while that comes closer to ``target`` rows, one at least; ``num_left`` groups stay."""
    taken: list[list[int]] = []
    size = 0
    while target and len(queue) > num_left and (not taken or size + len(queue[0]) / 2 <= target):
        taken.append(queue.pop(0))
        size += len(taken[-1])
    return taken


def _joined(groups: list[list[int]]) -> Rows:
    return np.array(sorted(row for group in groups for row in group), dtype=np.int64)


def _check_known(splits: Splits, traits: Traits, findings: Findings) -> None:
    """A class that a given validation or test split has and training has not cannot be learned."""
    if traits.labels is None or not len(splits.train):
        return
    counts = np.bincount(traits.labels[splits.train], minlength=int(traits.labels.max(initial=0)) + 1)
    for split, rows in (("validation", splits.validation), ("test", splits.test)):
        strangers = np.bincount(traits.labels[rows][counts[traits.labels[rows]] == 0])
        for label in np.flatnonzero(strangers):
            findings.fatal(f"the {split} split has {strangers[label]} rows of class {_name(traits, int(label))}, training has none")


def _name(traits: Traits, label: int) -> str:
    return repr(traits.names[label]) if traits.names is not None else str(label)
