"""Tables: what columns are, what is learned from the training rows alone, and whole attempts on generated files."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import QuantileTransformer

from core.errors import InvalidInput
from core.recipes import parse_spec
from core.recipes.tabular import Data, TabularSpec
from core.states import Reason
from tests.trainer.launching import Launch, WarmParent
from trainer.data.findings import Findings
from trainer.data.folds import fold_parts
from trainer.data.table import Table
from trainer.data.tabular import TabularData, read_tabular
from trainer.data.tabular_columns import kind_of, kind_of_target
from trainer.data.tabular_preprocessing import MISSING, UNKNOWN, fit_categorical, preprocessing_from_json
from trainer.data.tabular_scaling import fit_numeric, to_normal
from trainer.errors import InvalidData
from trainer.models import build
from trainer.models.tabular.embedding import PiecewiseLinear
from trainer.number_scores import NumberTally
from trainer.parallel import Ranks
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config

ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"))


def write(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def made_up(num: int = 240) -> list[list[Any]]:
    """Length and colour decide the class; some cells are missing; ``id`` is another text in each row."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(num):
        length, colour = random.normal(), random.choice(["red", "green", "blue"])
        label = "big" if length + {"red": 1.0, "green": 0.0, "blue": -1.0}[colour] > 0 else "small"
        cell = "NA" if number % 20 == 0 else f"{length:.4f}"
        rows.append([f"row-{number}", cell, "" if number % 30 == 1 else colour, round(length * 3 + 5, 3), label])
    return rows


HEADER = ["id", "length", "colour", "weight", "label"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "table" / "things.csv", HEADER, made_up()).parent


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
    weights = np.array([row[3] for row in made_up()])

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
    rows = [[number, number * 1.5] for number in range(200)]
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


def test_piecewise_linear_encoding_by_hand() -> None:
    """Bins 0-1, 1-1 (empty) and 1-3. The outer bins have no outer edge."""
    layer = PiecewiseLinear([[0.0, 1.0, 1.0, 3.0]], 4)

    encoded = layer.encode(torch.tensor([[-1.0], [0.5], [2.0], [5.0]]))

    assert encoded[:, 0].tolist() == [[-1, 0, 0], [0.5, 0, 0], [1, 1, 0.5], [1, 1, 2]]


@pytest.mark.parametrize(
    "architecture",
    [
        {"family": "tabular-mlp", "width": 8, "depth": 2},
        {"family": "tabular-mlp", "width": 8, "depth": 1, "numeric_embedding": "periodic"},
        {"family": "tabular-mlp", "width": 8, "depth": 1, "numeric_embedding": "piecewise-linear", "edges": [[0, 1, 2], [0, 1, 2]]},
        {"family": "ft-transformer", "width": 8, "depth": 2, "heads": 2},
    ],
)
def test_every_model_uses_every_input_and_ignores_the_company_of_a_row(architecture: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build({**architecture, "num_numbers": 2, "cardinalities": [4, 5], "num_outputs": 3}).eval()
    numbers, categories = torch.randn(6, 2), torch.tensor([[1, 2], [3, 4], [2, 1], [1, 1], [2, 4], [3, 3]])

    outputs = model(numbers, categories)

    assert outputs.shape == (6, 3)
    assert torch.allclose(model(numbers[2:3], categories[2:3]), outputs[2:3], atol=1e-6)
    for column in range(2):
        moved, renamed = numbers.clone(), categories.clone()
        moved[:, column] += 0.5
        renamed[:, column] = 0
        assert not torch.allclose(model(moved, categories), outputs)
        assert not torch.allclose(model(numbers, renamed), outputs)


def test_number_scores_by_hand() -> None:
    predictions, targets = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1e6 + 1.0, 1e6 + 3.0, 1e6 + 2.0], dtype=torch.float64)
    tally = NumberTally(1e6, torch.device("cpu"))
    tally.add(predictions.double() + 1e6, targets, torch.tensor([0.5, 1.0, 1.5]))

    assert tally.total(ALONE) == pytest.approx({"loss": 1.0, "mse": 5 / 3, "rmse": math.sqrt(5 / 3), "mae": 1.0, "r2": 1 - 5 / 2})


def test_spec_refuses_what_contradicts_itself() -> None:
    base = {"recipe": "tabular", "dataset": {"path": "/x"}}
    for wrong in (
        {"data": {"kind": "regression"}, "training": {"loss": "cross-entropy"}},
        {"data": {"fold": {"index": 5, "count": 5}}},
        {"data": {"fold": {"index": 0, "count": 5}, "split": "given"}},
        {"model": {"family": "ft-transformer", "width": 10, "heads": 3}},
    ):
        with pytest.raises(InvalidInput):
            parse_spec(json.dumps({**base, **wrong}))
    spec = parse_spec(
        json.dumps({**base, "model": {"family": "ft-transformer"}, "deterministic": True, "resources": {"accelerator": "cpu"}})
    )
    assert isinstance(spec, TabularSpec)


SPEC: dict[str, Any] = {
    "recipe": "tabular",
    "dataset": {"path": "/as/given"},
    "training": {"epochs": 6, "batch_size": 32, "learning_rate": 0.01},
    "checkpoints": {"every_steps": 5},
    "deterministic": True,
}


@pytest.fixture
def launch_table(tmp_path: Path, warm_parent: WarmParent, folder: Path) -> Launch:
    return Launch(root=tmp_path, parent=warm_parent, data_dir=folder)


def test_two_ranks_learn_classes_and_the_package_predicts_new_rows(launch_table: Launch, folder: Path, tmp_path: Path) -> None:
    attempt = launch_table(SPEC).run()

    assert attempt.weights()
    artifacts = attempt.run_dir.artifacts
    assert json.loads((artifacts / "metrics.json").read_text())["test"]["accuracy"] >= 0.8
    with (artifacts / "predictions.csv").open() as file:
        told = {int(row["row"]): row["prediction"] for row in csv.DictReader(file)}
    table = write(tmp_path / "new" / "rows.csv", HEADER[:4], [row[:4] for row in made_up()])
    config = read_config(artifacts)
    predictor = predictor_class("tabular")(artifacts, config, load_model(artifacts, config, "cpu"))
    with torch.inference_mode():
        found = [row["prediction"] for row in predictor.predict([table])]
    assert len(found) == 240
    assert {row: found[row] for row in told} == told


def test_a_kill_and_a_resume_give_the_same_weights(launch_table: Launch) -> None:
    spec = {**SPEC, "model": {"family": "ft-transformer", "width": 8, "depth": 1, "heads": 2, "residual_dropout": 0.1}}
    straight = launch_table(spec).run().weights()
    first = launch_table(spec).start()
    first.wait_for_step(11)
    first.wait_for(first.run_dir.complete_checkpoints, "a checkpoint")
    first.kill_everything()
    first.wait()
    newest, _ = first.run_dir.newest_verified_checkpoint()

    second = launch_table(spec, number=2, resume_from=newest).run()

    assert newest is not None
    assert second.weights() == straight


def test_a_number_is_learned_and_scored_in_its_own_unit(launch_table: Launch) -> None:
    """``weight`` is three times the length and five: nothing is left to guess but where the length is missing."""
    spec = {**SPEC, "data": {"target_column": "weight", "ignored_columns": ["label"], "missing": "drop"}}
    spec["training"] = {"epochs": 40, "batch_size": 32, "learning_rate": 0.01, "loss": "huber"}

    attempt = launch_table(spec).run()

    assert attempt.series("test_r2")[-1] > 0.98
    assert attempt.series("test_mse")[-1] < 0.2
    config = json.loads((attempt.run_dir.artifacts / "config.json").read_text())
    assert config["output"]["centre"] == pytest.approx(5, abs=1)


def test_a_loss_that_the_target_does_not_have_ends_the_job_as_invalid_data(launch_table: Launch) -> None:
    attempt = launch_table({**SPEC, "training": {"loss": "mse"}}).run()

    assert "column 'label' is a target of classification" in attempt.expect(Reason.INVALID_DATA).message


def test_a_table_keeps_its_places() -> None:
    assert Table(files=["a.csv"], rows=[7]).where(0) == {"file": "a.csv", "row": 7}
