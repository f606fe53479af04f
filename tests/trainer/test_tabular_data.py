"""Tables: what columns are, what is learned from the training rows alone, folds, and scores of numbers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import QuantileTransformer

from core.recipes.tabular import Data
from tests.trainer.made_up_tables import HEADER, things, write
from trainer.data.findings import Findings
from trainer.data.folds import fold_parts
from trainer.data.table import Table
from trainer.data.tabular import TabularData, read_tabular
from trainer.data.tabular_columns import kind_of, kind_of_target
from trainer.data.tabular_preprocessing import MISSING, UNKNOWN, fit_categorical, preprocessing_from_json
from trainer.data.tabular_scaling import fit_numeric, to_normal
from trainer.errors import InvalidData
from trainer.number_scores import NumberTally
from trainer.parallel import Ranks

ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "table" / "things.csv", HEADER, things()).parent


def read(folder: Path, **knobs: Any) -> tuple[TabularData, Findings]:
    findings = Findings()
    return read_tabular(folder, Data.model_validate_json(json.dumps(knobs)), seed=0, findings=findings), findings


def test_columns_are_found_out_and_gaps_counted(folder: Path) -> None:
    data, findings = read(folder)

    assert (data.columns.target, data.kind, data.labels) == ("label", "classification", ("big", "small"))
    assert (data.columns.numeric, data.columns.categorical) == (("length", "weight"), ("colour",))
    assert findings.counts["column 'id' left out: it has another text in almost every row"] == 1
    assert findings.counts["missing values imputed in length"] == 12
    assert findings.counts["missing values in colour"] == 8
    assert data.features.numbers.shape == (240, 3), "two columns and an indicator"


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "NA"], "numeric"),
        ([True, False], "categorical"),
        (["a", "b", "a"], "categorical"),
        (["x"] * 5, "it has one value only"),
        ([None, "NaN"], "it is empty"),
        ([[1], [2]], "it holds lists, objects or bytes"),
        (["1"] * 199 + ["oops", "2"], "numeric"),
    ],
)
def test_kind_of_a_column(cells: list[Any], kind: str) -> None:
    assert kind_of(cells) == kind


@pytest.mark.parametrize(
    ("cells", "kind"),
    [(["0", "1"], "classification"), (["0.5", "1"], "regression"), (list(range(21)), "regression"), (["a", "1"], "classification")],
)
def test_kind_of_a_target(cells: list[Any], kind: str) -> None:
    assert kind_of_target(cells) == kind


def test_what_is_learned_from_values_comes_from_training_rows_alone(folder: Path) -> None:
    data, _ = read(folder)
    column = data.preprocessing.numeric[1]
    weights = np.array([row[3] for row in things()])

    assert column.centre == pytest.approx(weights[data.splits.train].mean())
    assert column.scale == pytest.approx(weights[data.splits.train].std())
    assert abs(column.centre - weights.mean()) > 1e-6
    assert data.features.numbers[data.splits.train, 1].mean() == pytest.approx(0, abs=1e-6)


def test_preprocessing_survives_json(folder: Path) -> None:
    data, _ = read(folder, scaling="quantile", clip_outliers=1.5)
    again = preprocessing_from_json(json.loads(json.dumps(data.preprocessing.as_json())))

    cells = {"length": ["0.5", "NA", "99"], "weight": ["5", "1", "2"], "colour": ["red", "", "violet"]}
    first, second = data.preprocessing.apply(cells, 3), again.apply(cells, 3)
    assert again == data.preprocessing
    assert np.array_equal(first.numbers, second.numbers)
    assert second.categories[1:, 0].tolist() == [MISSING, UNKNOWN]
    assert second.numbers[:, 2].tolist() == [0, 1, 0]


@pytest.mark.parametrize(("how", "fill"), [("median", 2.0), ("mean", 4.0), ("most_frequent", 1.0), ("constant", -7.0)])
def test_holes_are_filled(how: Any, fill: float) -> None:
    column = fit_numeric("x", np.array([1, 1, 2, 4, 12, math.nan]), Data(impute_numbers=how, impute_constant=-7.0, scaling="none"))

    assert (column.fill, column.indicator) == (fill, True)
    assert column.apply(np.array([math.nan, 3.0])).tolist() == [fill, 3.0]


def test_outliers_are_moved_to_the_fence() -> None:
    """Quartiles 2 and 4: one and a half ranges beyond them are -1 and 7."""
    column = fit_numeric("x", np.array([1.0, 2, 3, 4, 50]), Data(clip_outliers=1.5, scaling="none"))

    assert column.apply(np.array([-100.0, 0, 7, 8])).tolist() == [-1, 0, 7, 7]


def test_quantile_scaling_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    seen, others = random.exponential(size=200), random.exponential(size=50)
    reference = QuantileTransformer(n_quantiles=200, output_distribution="normal").fit(seen[:, None])
    column = fit_numeric("x", seen, Data(scaling="quantile"))

    assert column.apply(others) == pytest.approx(reference.transform(others[:, None])[:, 0], abs=1e-6)
    assert column.apply(np.array([-9.0, 99.0])) == pytest.approx([-5.2, 5.2], abs=0.01)


def test_a_number_that_fills_several_ranks_gets_the_middle_of_them() -> None:
    assert to_normal(np.array([1.0]), np.array([0.0, 1.0, 1.0, 1.0, 2.0]))[0] == 0


def test_rare_categories_share_buckets_or_are_unknown() -> None:
    cells = ["a"] * 5 + ["b"] * 4 + ["c"] * 2 + ["d", None]
    limited = fit_categorical("x", cells, Data(max_categories=2))
    hashed = fit_categorical("x", cells, Data(max_categories=2, hash_buckets=3))

    assert limited.apply(["a", "b", "c", "d", None]).tolist() == [2, 3, UNKNOWN, UNKNOWN, MISSING]
    assert (limited.cardinality, hashed.cardinality) == (4, 7)
    assert all(4 <= number < 7 for number in hashed.apply(["c", "d", "never seen"]).tolist())
    assert fit_categorical("x", cells, Data(impute_categories="most_frequent")).apply([None, "a"]).tolist() == [2, 2]


def test_bad_rows_fail_the_job_with_their_places_or_are_dropped(tmp_path: Path) -> None:
    rows: list[list[Any]] = [[number, number * 1.5] for number in range(200)]
    rows[3][1], rows[4][1], rows[5][0] = "inf", "NaN", "oops"
    write(tmp_path / "t" / "a.csv", ["x", "y"], rows)

    with pytest.raises(InvalidData) as refusal:
        read(tmp_path / "t")
    assert "a.csv, row 5, column y: the target 'inf' is not a finite number" in str(refusal.value)
    assert "a.csv, row 6, column y: the target is NaN" in str(refusal.value)
    assert "a.csv, row 7, column x: 'oops' is not a number" in str(refusal.value)
    data, findings = read(tmp_path / "t", on_bad_rows="drop")
    assert (len(data.targets), findings.num_bad_rows) == (197, 3)


def test_rows_with_gaps_are_dropped_when_asked(folder: Path) -> None:
    data, findings = read(folder, missing="drop")

    assert findings.counts["rows with missing values dropped"] == 20
    assert len(data.targets) == 220


def test_a_column_that_does_not_exist_is_named(folder: Path) -> None:
    with pytest.raises(InvalidData, match="no column 'price'; the columns are 'id', 'length'"):
        read(folder, target_column="price")


def test_folds_test_every_row_once_and_share_classes_equally(folder: Path) -> None:
    labels = np.array([0] * 13 + [1] * 31)
    parts = [fold_parts(44, labels, index=index, count=5, seed=7) for index in range(5)]

    assert [sum(part[row] == "test" for part in parts) for row in range(44)] == [1] * 44
    assert {sum(part[row] == "test" for row in range(13)) for part in parts} <= {2, 3}
    assert fold_parts(44, labels, index=0, count=5, seed=8) != parts[0]
    tested = [set(read(folder, fold={"index": index, "count": 3})[0].splits.test.tolist()) for index in range(3)]
    assert set.union(*tested) == set(range(240))
    assert sum(map(len, tested)) == 240


def test_number_scores_by_hand() -> None:
    predictions, targets = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1e6 + 1.0, 1e6 + 3.0, 1e6 + 2.0], dtype=torch.float64)
    tally = NumberTally(1e6, torch.device("cpu"))
    tally.add(predictions.double() + 1e6, targets, torch.tensor([0.5, 1.0, 1.5]))

    assert tally.total(ALONE) == pytest.approx({"loss": 1.0, "mse": 5 / 3, "rmse": math.sqrt(5 / 3), "mae": 1.0, "r2": 1 - 5 / 2})


def test_a_table_keeps_its_places() -> None:
    assert Table(files=["a.csv"], rows=[7]).where(0) == {"file": "a.csv", "row": 7}
