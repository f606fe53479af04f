"""Splits: by the data and the seed alone, disjoint, complete, and every class in proportion."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.recipes.sections.data import DataKnobs
from trainer.data.findings import Findings
from trainer.data.splits import Splits, make_splits
from trainer.errors import InvalidData

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), (100, 40, 20, 3)))
GROUPS = [f"patient {number % 17}" for number in range(len(LABELS))]
DAYS = [f"2024-01-{1 + number * 7 % 31:02}" for number in range(len(LABELS))]
TRAITS: dict[str, Any] = {"labels": LABELS, "groups": GROUPS, "times": DAYS}
COLUMNS: dict[str, Any] = {"group_column": "who", "time_column": "when"}


def split(seed: int = 0, **knobs: Any) -> tuple[Splits, Findings]:
    """Over the rows of ``LABELS``; knobs that name a trait (labels, parts, groups, times) are handed on as such."""
    traits = {name: knobs.pop(name) for name in ("labels", "label_names", "parts", "groups", "times") if name in knobs}
    findings = Findings()
    num_rows = knobs.pop("num_rows", len(LABELS))
    return make_splits(num_rows, DataKnobs(**knobs), seed=seed, findings=findings, **traits), findings


def stratified(labels: Any, seed: int, fractions: tuple[float, float]) -> Splits:
    """By class, with these shares for validation and test."""
    knobs = {"validation_fraction": fractions[0], "test_fraction": fractions[1]}
    return split(seed, split="stratified", labels=labels, num_rows=len(labels), **knobs)[0]


def refused(**knobs: Any) -> str:
    _, findings = split(**knobs)
    with pytest.raises(InvalidData) as caught:
        findings.settle("drop")
    return str(caught.value)


def together(splits: Splits) -> list[int]:
    return sorted(np.concatenate([splits.train, splits.validation, splits.test]).tolist())


EVERY_WAY: list[dict[str, Any]] = [
    {"split": "ratio"},
    {"split": "stratified", "labels": LABELS},
    {"split": "group", "groups": GROUPS, **COLUMNS},
    {"split": "time", "times": DAYS, **COLUMNS},
    {"split": "given", "parts": [None if n % 5 else "test" for n in range(len(LABELS))]},
]


@pytest.mark.parametrize("way", EVERY_WAY, ids=lambda way: str(way["split"]))
def test_splits_are_disjoint_complete_and_repeatable(way: dict[str, Any]) -> None:
    splits, findings = split(**way)
    again, other = split(**way)[0], split(seed=1, **way)[0]

    findings.settle("fail")
    assert together(splits) == list(range(len(LABELS)))
    assert all(np.array_equal(getattr(splits, name), getattr(again, name)) for name in ("train", "validation", "test"))
    assert all((np.diff(rows) > 0).all() for rows in (splits.train, splits.validation, splits.test))
    assert np.array_equal(splits.validation, other.validation) == (way["split"] == "time")
    assert 0.05 * len(LABELS) <= len(splits.validation) <= 0.2 * len(LABELS)


def test_each_class_gives_its_share_and_the_smallest_one_row_to_each() -> None:
    splits = stratified(LABELS, 0, (0.15, 0.2))

    assert np.bincount(LABELS[splits.test]).tolist() == [20, 8, 4, 1]
    assert np.bincount(LABELS[splits.validation]).tolist() == [15, 6, 3, 1]
    assert np.bincount(LABELS[splits.train]).tolist() == [65, 26, 13, 1]


@pytest.mark.parametrize("fractions", [(0.49, 0.49), (0.01, 0.01), (0.49, 0.01)])
def test_three_rows_of_a_class_are_enough_whatever_the_fractions(fractions: tuple[float, float]) -> None:
    splits = stratified(np.repeat(np.arange(3), 3), 5, fractions)

    assert [len(splits.train), len(splits.validation), len(splits.test)] == [3, 3, 3]


def test_a_class_of_two_is_learned_and_tested_and_one_of_one_is_refused() -> None:
    splits, findings = split(split="stratified", labels=np.array([0] * 9 + [1] * 2), num_rows=11)
    findings.settle("fail")
    assert {9, 10} == {int(row) for rows in (splits.train, splits.test) for row in rows if row > 8}

    labels = np.array([0] * 9 + [1, 2])
    said = refused(split="stratified", labels=labels, label_names=["cat", "dog", "eel"], num_rows=11)
    assert said.splitlines() == [
        f"class {name!r} has one row; it needs one to learn from and one to be tested on" for name in ("dog", "eel")
    ]


def test_no_group_stands_on_two_sides() -> None:
    splits, _ = split(split="group", groups=GROUPS, **COLUMNS)
    sides = [{GROUPS[row] for row in rows} for rows in (splits.train, splits.validation, splits.test)]

    assert sum(len(side) for side in sides) == len(set(GROUPS))


def test_the_latest_rows_are_tested_and_those_before_them_validate() -> None:
    splits, _ = split(split="time", times=DAYS, **COLUMNS)

    def days(rows: np.ndarray, pick: Callable[[list[str]], str]) -> str:
        return pick([DAYS[row] for row in rows])

    assert days(splits.train, max) <= days(splits.validation, min)
    assert days(splits.validation, max) <= days(splits.test, min)


@pytest.mark.parametrize("times", [[9, 10, 11, 2], ["9", "10", "11", "2"], ["2009", "2010-05-01T00:00", "2010-05-01T01:00+02:00", "2001"]])
def test_times_are_compared_as_times_not_as_texts(times: list[Any]) -> None:
    if isinstance(times[0], str) and len(times[0]) == 4:
        times = [time if len(time) > 4 else f"{time}-01-01" for time in times]
    splits, findings = split(split="time", times=times, num_rows=4, **COLUMNS)

    findings.settle("fail")
    latest = 2 if isinstance(times[0], int) or len(times[0]) < 4 else 1
    assert splits.test.tolist() == [latest]


def test_auto_takes_what_the_data_offers() -> None:
    parts = ["train"] * 100 + ["validation"] * 30 + ["test"] * 33
    given_splits, _ = split(labels=LABELS, parts=parts)
    stratified, _ = split(labels=LABELS, parts=[None] * len(LABELS))

    assert given_splits.validation.tolist() == list(range(100, 130))
    assert np.bincount(LABELS[stratified.test]).tolist() == [10, 4, 2, 1]


def test_missing_splits_are_carved_out_of_training_rows_alone() -> None:
    parts = [None if row < 120 else "test" for row in range(len(LABELS))]
    splits, findings = split(labels=LABELS, parts=parts)

    assert splits.test.tolist() == list(range(120, len(LABELS)))
    shares = np.bincount(LABELS[splits.validation], minlength=4) / np.bincount(LABELS[:120], minlength=4)
    assert np.allclose(shares[:3], 0.1, atol=0.05)
    assert findings.counts == {"validation rows carved out of the training split": len(splits.validation)}


def test_groups_are_kept_together_when_a_split_is_carved_too() -> None:
    splits, _ = split(parts=["test" if row < 30 else None for row in range(len(LABELS))], groups=GROUPS)

    assert not {GROUPS[row] for row in splits.train} & {GROUPS[row] for row in splits.validation}


def test_a_class_that_only_validation_knows_is_named() -> None:
    parts = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    labels = np.array([0, 1] * 4 + [0, 2] + [3, 3])

    assert refused(labels=labels, label_names=["a", "b", "c", "d"], parts=parts, num_rows=12).splitlines() == [
        "the validation split has 1 rows of class 'c', training has none",
        "the test split has 2 rows of class 'd', training has none",
    ]


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"num_rows": 2}, "2 rows cannot be split"),
        ({"split": "given", "parts": [None] * 163}, "neither files nor a column 'split' say"),
        ({"split": "stratified"}, "no single class each"),
        ({"split": "group", "groups": ["a"] * 163, **COLUMNS}, "1 groups cannot be divided among 3 splits"),
        ({"split": "group", "groups": ["a", None] + ["b"] * 161, **COLUMNS}, "some rows have no value"),
        ({"split": "time", "times": ["2024-01-01", "yesterday", "soon"] + [None] * 160, **COLUMNS}, "162 cells of the time column"),
        ({"split": "time", "times": ["2024-01-01", 7] + ["3"] * 161, **COLUMNS}, "mixes numbers and dates"),
        ({"parts": ["test"] * 163}, "the training split has 0 rows"),
    ],
)
def test_what_cannot_be_split_says_why(knobs: dict[str, Any], said: str) -> None:
    assert said in refused(**knobs)


@given(
    sizes=st.lists(st.integers(2, 30), min_size=2, max_size=5),
    fractions=st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49)),
    seed=st.integers(0, 1 << 40),
)
def test_every_class_is_learned_and_tested(sizes: list[int], fractions: tuple[float, float], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    splits = stratified(labels, seed, fractions)

    assert together(splits) == list(range(len(labels)))
    assert set(labels[splits.train]) == set(labels[splits.test]) == set(range(len(sizes)))
