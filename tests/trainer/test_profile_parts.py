"""The parts of a profile by themselves: types of columns, sums of numbers, encodings, rows that stand twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.profile.columns import profile_column
from trainer.profile.files import encoding_of
from trainer.profile.numbers import summarise, top
from trainer.profile.rows import Ledger, digest, distance, loosely


def test_columns_are_what_almost_all_of_their_cells_are() -> None:
    cells: dict[str, list[Any]] = {
        "number": ["1", "2.5", "", "-3e2"],
        "boolean": [True, False, None],
        "category": ["a", "b", "a"],
        "identifier": [f"row-{number}" for number in range(30)],
        "text": [f"a sentence of six words {number}" for number in range(9)],
        "time": ["2024-01-01", "2024-02-01T10:00"],
        "list": [[1], [2]],
        "object": [{"a": 1}],
        "bytes": [b"x"],
        "empty": [None, "NA", ""],
    }
    assert {name: profile_column("c", values).type for name, values in cells.items()} == {name: name for name in cells}


def test_numbers_are_summed_up_as_numpy_does() -> None:
    values = np.random.default_rng(0).normal(size=1000) * 1e200
    found = summarise(values)
    assert found is not None
    assert (found.min, found.max) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean())
    assert found.deviation == pytest.approx((values / 1e200).std() * 1e200)
    assert found.quantiles["0.25"] == pytest.approx(np.quantile(values, 0.25))
    assert sum(found.histogram) == 1000
    assert summarise([float("nan"), float("inf")]) is None
    constant = summarise([3.0, 3.0])
    assert constant is not None
    assert (constant.deviation, sum(constant.histogram)) == (0, 2)


def test_the_most_frequent_values_come_first_and_ties_by_the_alphabet() -> None:
    assert [(count.value, count.num) for count in top(["b", "a", "c", "c"])] == [("c", 2), ("a", 1), ("b", 1)]
    assert len(top(["x" * 500])[0].value) == 80


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"abc", "ascii"),
        ("grün".encode(), "utf-8"),
        ("grün".encode("utf-8-sig"), "utf-8 with a byte order mark"),
        ("grün".encode("utf-16"), "utf-16"),
        ("grün".encode("utf-32"), "utf-32"),
        ("grün".encode("cp1252"), "unknown"),
        ("grün".encode()[:-2], "unknown"),
    ],
)
def test_encodings_are_told_apart(tmp_path: Path, content: bytes, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert encoding_of(tmp_path / "a.txt") == encoding


def test_a_ledger_counts_what_stands_twice() -> None:
    ledger = Ledger(has_splits=True)
    for text, part in (("One.", "train"), ("One.", "train"), ("one", "test"), ("two", None), ("two", "validation")):
        ledger.add(digest(text), part=part, label="x", loose=loosely(text))
    assert ledger.num_per_split() == {"train": 3, "validation": 1, "test": 1}
    assert ledger.num_duplicates() == 1
    assert [(leak.split, leak.other, leak.num_exact, leak.num_loose) for leak in ledger.leaks()] == [
        ("train", "validation", 1, 0),
        ("train", "test", 0, 2),
    ]
    assert distance(ledger.labels["train"], ledger.labels["test"]) == 0
