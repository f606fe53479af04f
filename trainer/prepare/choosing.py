"""Which rows go where, and which stay: decided by splits, classes and the seed alone, for tables and images alike.

Rows are given by what is known of each; answers are splits, or positions.
"""

import itertools
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import torch

from core.recipes.dataset_preparation import Balance, Sample, Split
from core.recipes.sections.data import DataKnobs
from trainer.data.findings import Findings
from trainer.data.splits import make_splits
from trainer.data.text.columns import in_order
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.prepare.frame import Parts, Rows, training_rows

_SAMPLE_STREAM, _BALANCE_STREAM = 0x5A, 0xBC


def split_parts(num_rows: int, step: Split, of_rows: Sequence[Hashable] | None, *, seed: int) -> Parts:
    """``of_rows``: what the column of the step says of each row. InvalidData when it cannot be split so."""
    findings = Findings()
    # The fractions of a recipe are never 0; those of a step may be.
    knobs = DataKnobs.model_construct(
        split=step.by, validation_fraction=step.validation, test_fraction=step.test, group_column="group", time_column="time"
    )
    labels, names = _numbered(of_rows) if step.by == "stratified" and of_rows is not None else (None, None)
    splits = make_splits(
        num_rows,
        knobs,
        seed=seed,
        findings=findings,
        labels=labels,
        label_names=names,
        groups=of_rows if step.by == "group" else None,
        times=of_rows if step.by == "time" else None,
    )
    findings.settle("fail")
    parts: Parts = ["train"] * num_rows
    for name, rows in (("validation", splits.validation), ("test", splits.test)):
        for row in rows.tolist():
            parts[row] = name
    return parts


def _numbered(labels: Sequence[Hashable]) -> tuple[Rows, list[str]]:
    """Class numbers and names; InvalidData where a row has no class."""
    check_classes(labels)
    names = in_order({str(label) for label in labels})
    number = {name: position for position, name in enumerate(names)}
    return np.array([number[str(label)] for label in labels], dtype=np.int64), names


def check_classes(labels: Sequence[Hashable]) -> None:
    num = sum(label is None for label in labels)
    if num:
        raise InvalidData([f"{num:,} rows have no class; drop_missing or impute before lets them go or gives them one"])


def sample_rows(parts: Sequence[str | None], strata: Sequence[Hashable] | None, step: Sample, *, seed: int) -> Rows:
    """Every split, and every stratum in it, gives its share; what rounding leaves goes to the largest remainders."""
    total = len(parts)
    wanted = min(total, step.rows if step.rows is not None else round(total * (step.fraction or 0.0)))
    members = _members(zip(_splits(parts), itertools.repeat(None) if strata is None else strata, strict=False), total)
    chosen = [
        own[torch.randperm(len(own), generator=generator(seed, _SAMPLE_STREAM, number)).numpy()[:size]]
        for number, (own, size) in enumerate(zip(members, apportion([len(own) for own in members], wanted), strict=True))
    ]
    rows: Rows = np.sort(np.concatenate([*chosen, np.zeros(0, dtype=np.int64)]))
    return rows


def _splits(parts: Sequence[str | None]) -> Iterator[str | None]:
    has_splits = any(parts)
    return ((part or "train") if has_splits else None for part in parts)


def _members(kinds: Iterator[Hashable], total: int) -> list[Rows]:
    """The rows of each kind, in the order in which kinds first come; no more than a number is held of a row."""
    numbers: dict[Hashable, int] = {}
    of_rows = np.fromiter((numbers.setdefault(kind, len(numbers)) for kind in kinds), dtype=np.int32, count=total)
    order = np.argsort(of_rows, kind="stable")
    ends = np.cumsum(np.bincount(of_rows, minlength=len(numbers)))
    return np.split(order, ends[:-1]) if total else []


def apportion(sizes: Sequence[int], wanted: int) -> list[int]:
    """``wanted`` shared out by size: whole shares first, then one each to the largest remainders, the first of equals (Hamilton)."""
    total = sum(sizes)
    if not total:
        return [0 for _ in sizes]
    exact = [divmod(size * wanted, total) for size in sizes]
    shares = [whole for whole, _ in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda number: -exact[number][1])
    for number in by_remainder[: wanted - sum(shares)]:
        shares[number] += 1
    return shares


def balanced_rows(parts: Sequence[str | None], labels: Sequence[Hashable], step: Balance, *, seed: int) -> Rows:
    """Rows of other splits than training stay as they are. Repeated rows stand behind all others, class after class."""
    check_classes(labels)
    training = training_rows(parts)
    classes: dict[Hashable, list[int]] = {}
    for row, (label, counts) in enumerate(zip(labels, training, strict=True)):
        if counts:
            classes.setdefault(label, []).append(row)
    if not classes:
        raise InvalidData(["there is no training row to balance"])
    sizes = [len(rows) for rows in classes.values()]
    kept, repeated = set(np.flatnonzero(~training).tolist()), list[int]()
    for number, rows in enumerate(classes.values()):
        order = torch.randperm(len(rows), generator=generator(seed, _BALANCE_STREAM, number)).tolist()
        if step.how == "under":
            kept.update(rows[position] for position in order[: min(sizes)])
        else:
            kept.update(rows)
            repeated += [rows[order[turn % len(rows)]] for turn in range(max(sizes) - len(rows))]
    return np.array([*sorted(kept), *repeated], dtype=np.int64)
