"""Recipe tabular: networks, specs, and whole attempts on generated files."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import InvalidInput
from core.recipes import parse_spec
from core.recipes.tabular import TabularSpec
from core.states import Reason
from tests.trainer.launching import Launch, WarmParent
from tests.trainer.made_up_tables import HEADER, things, write
from trainer.models import build
from trainer.models.tabular.embedding import PiecewiseLinear
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "table" / "things.csv", HEADER, things()).parent


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


@pytest.mark.parametrize("loss", ["auto", "binary", "focal"])
def test_two_ranks_learn_classes_and_the_package_predicts_new_rows(launch_table: Launch, folder: Path, tmp_path: Path, loss: str) -> None:
    attempt = launch_table({**SPEC, "training": {**SPEC["training"], "loss": loss}}).run()

    assert attempt.weights()
    artifacts = attempt.run_dir.artifacts
    assert json.loads((artifacts / "metrics.json").read_text())["test"]["accuracy"] >= 0.8
    with (artifacts / "predictions.csv").open() as file:
        told = {int(row["row"]): row["prediction"] for row in csv.DictReader(file)}
    table = write(tmp_path / "new" / "rows.csv", HEADER[:4], [row[:4] for row in things()])
    config = read_config(artifacts)
    predictor = predictor_class("tabular")(artifacts, config, load_model(artifacts, config, "cpu"))
    with torch.inference_mode():
        found = [row["prediction"] for row in predictor.predict([table])]
    assert len(found) == 240
    assert {row: found[row] for row in told} == told


def test_promise_08_a_kill_and_a_resume_give_the_same_weights(launch_table: Launch) -> None:
    spec = {**SPEC, "model": {"family": "ft-transformer", "width": 8, "depth": 1, "heads": 2, "residual_dropout": 0.1}}
    assert launch_table.killed_and_resumed(spec, after=11).weights() == launch_table(spec).run().weights()


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
