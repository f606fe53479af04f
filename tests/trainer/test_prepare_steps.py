"""Each step of a preparation against its definition, with the tables that are easily forgotten: empty, constant, all missing."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from core.recipes.dataset_preparation import (
    Augment,
    Balance,
    ClipOutliers,
    DropDuplicates,
    DropMissing,
    Impute,
    MapColumns,
    Normalise,
    Sample,
    Split,
    TextAugmentation,
)
from trainer.errors import InvalidData
from trainer.prepare.choosing import apportion, balanced_rows, sample_rows, split_parts
from trainer.prepare.cleaning import drop_duplicates, drop_missing, impute
from trainer.prepare.frame import Frame
from trainer.prepare.rewording import augment_texts, map_columns, reworded
from trainer.prepare.running import balance, sample, split
from trainer.prepare.scaling import clip_outliers, normalise

TRAIN, TEST = "train", "test"


def frame(parts: list[str | None] | None = None, **columns: list[Any]) -> Frame:
    kinds = {name: pa.string() if all(cell is None for cell in cells) else None for name, cells in columns.items()}
    table = pa.table({name: pa.array(cells, kinds[name]) for name, cells in columns.items()})
    return Frame.of(table, parts or [None] * table.num_rows)


def columns_of(result: Frame) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = result.whole().to_pydict()
    return found


def test_of_equal_rows_the_first_stays() -> None:
    done = drop_duplicates(frame(a=["x", "x", "é", None, None], b=[1, 1, 2, 3, 3]), DropDuplicates(do="drop_duplicates"))
    assert columns_of(done.frame) == {"a": ["x", "é", None], "b": [1, 2, 3]}
    assert done.num_changed == 2
    by_one = drop_duplicates(frame(a=["x", "x"], b=[1, 2]), DropDuplicates(do="drop_duplicates", columns=("a",)))
    assert columns_of(by_one.frame) == {"a": ["x"], "b": [1]}


def test_of_equal_rows_in_two_splits_the_one_that_is_tested_on_stays() -> None:
    done = drop_duplicates(frame([TRAIN, "validation", TEST, TRAIN], a=["x", "x", "x", "y"]), DropDuplicates(do="drop_duplicates"))
    assert done.frame.parts == [TEST, TRAIN]


def test_rows_with_gaps_go() -> None:
    whole = frame(a=["1", "", None, "NA"], b=[1.0, 2.0, 3.0, float("nan")])
    assert columns_of(drop_missing(whole, DropMissing(do="drop_missing")).frame) == {"a": ["1"], "b": [1.0]}
    assert drop_missing(whole, DropMissing(do="drop_missing", columns=("b",))).frame.num_rows == 3


@pytest.mark.parametrize(
    ("by", "cells", "filled"),
    [
        ("mean", ["1", None, "4"], ["1", "2.5", "4"]),
        ("median", ["1", "NA", "3", "100"], ["1", "3.0", "3", "100"]),
        ("mode", ["007", None, "007", "8"], ["007", "007", "007", "8"]),
        ("mode", [2, None, 1], [2, 1, 1]),
        ("mean", [1, None, 4], [1.0, 2.5, 4.0]),
    ],
)
def test_missing_cells_get_what_the_others_say_and_the_others_keep_their_spelling(by: Any, cells: list[Any], filled: list[Any]) -> None:
    done = impute(frame(a=cells), Impute(do="impute", columns=("a",), by=by))
    assert columns_of(done.frame)["a"] == filled
    assert done.num_changed == 1


def test_a_constant_fills_also_what_has_no_value_at_all() -> None:
    step = Impute(do="impute", columns=("a",), by="constant", value="none")
    assert columns_of(impute(frame(a=[None, None]), step).frame) == {"a": ["none", "none"]}
    with pytest.raises(InvalidData, match="'none' does not fit column 'a', which holds int64"):
        impute(frame(a=[1, None]), step)


def test_fills_are_learned_from_training_rows_alone() -> None:
    done = impute(frame([TRAIN, TRAIN, TEST, TEST], a=[1.0, 3.0, 100.0, None]), Impute(do="impute", columns=("a",), by="mean"))
    assert columns_of(done.frame)["a"] == [1.0, 3.0, 100.0, 2.0]
    assert done.fitted == {"a": 2.0}
    with pytest.raises(InvalidData, match="no value in the training rows"):
        impute(frame([TRAIN, TEST], a=[None, 1.0]), Impute(do="impute", columns=("a",)))
    with pytest.raises(InvalidData, match="no value in the training rows"):
        impute(frame(a=[None, None]), Impute(do="impute", columns=("a",), by="mode"))


def test_numbers_beyond_the_bounds_are_moved_onto_them() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 100.0]
    lower, upper = np.quantile(values, (0.25, 0.75))
    done = clip_outliers(frame(a=values), ClipOutliers(do="clip_outliers", columns=("a",)))
    assert columns_of(done.frame)["a"] == pytest.approx([1, 2, 3, 4, 5, upper + 1.5 * (upper - lower)])
    assert done.num_changed == 1
    texts = clip_outliers(
        frame(a=["01", "2", None, "3"]), ClipOutliers(do="clip_outliers", columns=("a",), by="quantiles", low=0.0, high=0.5)
    )
    assert columns_of(texts.frame)["a"] == ["01", "2", None, "2.0"]


def test_scales_are_those_of_the_training_rows() -> None:
    given = frame([TRAIN, TRAIN, TEST, TRAIN], a=[1, 3, 5, None])
    standard = normalise(given, Normalise(do="normalise", columns=("a",)))
    assert columns_of(standard.frame)["a"] == [-1.0, 1.0, 3.0, None]
    assert standard.fitted == {"a": {"shift": 2.0, "scale": 1.0}}
    assert columns_of(normalise(given, Normalise(do="normalise", columns=("a",), by="minmax")).frame)["a"] == [0.0, 1.0, 2.0, None]


@pytest.mark.parametrize("by", ["standard", "minmax"])
def test_a_constant_column_becomes_zero(by: Any) -> None:
    done = normalise(frame(a=["0.1", "0.1", "", "0.1"]), Normalise(do="normalise", columns=("a",), by=by))
    assert columns_of(done.frame)["a"] == [0.0, 0.0, None, 0.0]


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(InvalidData, match="column 'a' holds 2 cells that are no finite numbers, the first is 'größe'"):
        normalise(frame(a=["1", "größe", "inf"]), Normalise(do="normalise", columns=("a",)))


def test_every_step_takes_a_table_without_rows() -> None:
    empty = frame(a=[], b=[])
    assert drop_duplicates(empty, DropDuplicates(do="drop_duplicates")).frame.num_rows == 0
    assert drop_missing(empty, DropMissing(do="drop_missing")).frame.num_rows == 0
    assert sample(empty, Sample(do="sample", fraction=0.5), seed=0).frame.num_rows == 0
    for attempt in (
        lambda: impute(empty, Impute(do="impute", columns=("a",))),
        lambda: normalise(empty, Normalise(do="normalise", columns=("a",))),
        lambda: clip_outliers(empty, ClipOutliers(do="clip_outliers", columns=("a",))),
        lambda: split(empty, Split(do="split"), seed=0),
        lambda: balance(empty, Balance(do="balance", label="a"), seed=0),
    ):
        with pytest.raises(InvalidData):
            attempt()


def test_rows_are_split_by_ratio_and_by_chance() -> None:
    step = Split(do="split", validation=0.2, test=0.1)
    parts = split_parts(100, step, None, seed=1)
    assert [parts.count(name) for name in (TRAIN, "validation", TEST)] == [70, 20, 10]
    assert parts == split_parts(100, step, None, seed=1)
    assert parts != split_parts(100, step, None, seed=2)
    assert "validation" not in split_parts(100, Split(do="split", validation=0.0, test=0.1), None, seed=1)


def test_every_class_gives_its_share_or_is_named() -> None:
    step = Split(do="split", by="stratified", column="c", validation=0.0, test=0.5)
    parts = split_parts(12, step, ["a"] * 8 + ["b"] * 4, seed=0)
    assert (parts[:8].count(TEST), parts[8:].count(TEST)) == (4, 2)
    with pytest.raises(InvalidData, match="class 'ü' has one row"):
        split_parts(4, step, ["a", "a", "a", "ü"], seed=0)
    with pytest.raises(InvalidData, match="1 rows have no class"):
        split_parts(3, step, ["a", "a", None], seed=0)


def test_groups_stay_together_and_the_latest_rows_are_tested_on() -> None:
    groups = [number // 4 for number in range(40)]
    parts = split_parts(40, Split(do="split", by="group", column="g", validation=0.2, test=0.2), groups, seed=0)
    assert all(len(set(parts[start : start + 4])) == 1 for start in range(0, 40, 4))
    assert set(parts) == {TRAIN, "validation", TEST}
    days = [f"2024-01-{day:02}" for day in range(10, 0, -1)]
    by_time = split(frame(day=days), Split(do="split", by="time", column="day", validation=0.2, test=0.2), seed=0).frame.parts
    assert by_time == [TEST, TEST, "validation", "validation", *[TRAIN] * 6]
    with pytest.raises(InvalidData, match="neither numbers nor dates"):
        split(frame(day=["soon", "later", "now"]), Split(do="split", by="time", column="day"), seed=0)


def test_shares_add_up() -> None:
    assert apportion([10, 10, 10], 4) == [2, 1, 1]
    assert apportion([1, 0, 99], 50) == [1, 0, 49]
    assert apportion([], 3) == []
    assert apportion([0, 0], 3) == [0, 0]


def test_a_sample_keeps_the_shares_of_splits_and_classes() -> None:
    parts: list[str | None] = [TRAIN] * 80 + [TEST] * 20
    labels = ["a", "b", "b", "b"] * 25
    rows = sample_rows(parts, labels, Sample(do="sample", fraction=0.2, stratified_by="c"), seed=3)
    assert len(rows) == 20
    assert sum(parts[row] == TEST for row in rows) == 4
    assert sum(labels[row] == "a" for row in rows) == 5
    assert rows.tolist() == sorted(rows.tolist())
    assert len(sample_rows(parts, None, Sample(do="sample", rows=1000), seed=0)) == 100


def test_classes_are_balanced_in_training_alone() -> None:
    parts: list[str | None] = [TRAIN] * 6 + [TEST] * 3
    labels = ["a", "a", "a", "a", "b", "b", "a", "a", "b"]
    under = balanced_rows(parts, labels, Balance(do="balance", label="c"), seed=0)
    assert sorted(labels[row] for row in under if row < 6) == ["a", "a", "b", "b"]
    assert {6, 7, 8} <= set(under.tolist())
    over = balanced_rows(parts, labels, Balance(do="balance", label="c", how="over"), seed=0).tolist()
    assert over[:9] == list(range(9))
    assert sorted(over[9:]) == [4, 5]


def test_one_row_per_class_is_balanced_as_it_is() -> None:
    done = balance(frame(c=["x", "y", "z"]), Balance(do="balance", label="c", how="over"), seed=0)
    assert columns_of(done.frame) == {"c": ["x", "y", "z"]}
    with pytest.raises(InvalidData, match="1 rows have no class"):
        balance(frame(c=["x", None]), Balance(do="balance", label="c"), seed=0)


def test_copies_of_texts_stand_behind_their_originals_of_the_training_split() -> None:
    step = Augment(do="augment", text=TextAugmentation(column="t", dropout=0.5), copies=2)
    given = frame([TRAIN, TEST, TRAIN], t=["eins zwei drei vier", "bleibt", None], c=["a", "b", "c"])
    done = augment_texts(given, step, seed=0)
    assert columns_of(done.frame)["c"] == ["a", "a", "a", "b", "c", "c", "c"]
    assert done.frame.parts == [*[TRAIN] * 3, TEST, *[TRAIN] * 3]
    texts = columns_of(done.frame)["t"]
    assert (texts[0], texts[3:]) == ("eins zwei drei vier", ["bleibt", None, None, None])
    assert texts[1] != texts[2]
    assert all(set(text.split()) <= set(texts[0].split()) for text in texts[1:3])


def test_one_word_always_stays_and_swaps_lose_none() -> None:
    random = torch.Generator().manual_seed(0)
    left = [reworded("a b c", TextAugmentation(column="t", dropout=0.99), random) for _ in range(50)]
    assert set(left) == {"a", "b", "c"}
    swapped = reworded("ä b c d", TextAugmentation(column="t", swap=0.5), random)
    assert sorted(swapped.split()) == ["b", "c", "d", "ä"]
    assert swapped != "ä b c d"
    assert reworded("alone", TextAugmentation(column="t", swap=0.5), random) == "alone"
    assert reworded("", TextAugmentation(column="t", dropout=0.5), random) == ""


def test_columns_are_kept_dropped_and_renamed() -> None:
    given = frame(a=[1], b=[2], c=[3])
    kept = map_columns(given, MapColumns(do="map_columns", keep=("c", "a"), rename={"a": "größe"})).frame
    assert columns_of(kept) == {"c": [3], "größe": [1]}
    assert columns_of(map_columns(given, MapColumns(do="map_columns", drop=("a",), rename={"b": "a"})).frame) == {"a": [2], "c": [3]}
