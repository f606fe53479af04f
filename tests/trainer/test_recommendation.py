"""Recipe recommendation: whole attempts on generated files."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.states import Reason
from tests.trainer.launching import Launch, WarmParent
from tests.trainer.made_up_tables import NUM_ITEMS, tastes, write
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "data" / "items.csv", ["item_id", "title"], [["i1", "A"]])
    return write(tmp_path / "data" / "ratings.csv", ["userId", "item_id", "rating", "timestamp"], tastes()).parent


SPEC: dict[str, Any] = {
    "recipe": "recommendation",
    "dataset": {"path": "/as/given"},
    "model": {"width": 4, "user_bias_l2": 0.1, "item_bias_l2": 0.1, "vector_l2": 0.1},
    "training": {"epochs": 12, "batch_size": 32, "learning_rate": 0.05},
    "checkpoints": {"every_steps": 10},
    "deterministic": True,
}
IMPLICIT: dict[str, Any] = {
    **SPEC,
    "data": {"feedback": "implicit", "liked_from": 5.5},
    "model": {"family": "two-tower", "width": 4, "depth": 1, "dropout": 0.05},
    "training": {"epochs": 6, "batch_size": 32, "learning_rate": 0.05, "negatives": "uniform", "num_negatives": 8},
}


@pytest.fixture
def launch_ratings(tmp_path: Path, warm_parent: WarmParent, folder: Path) -> Launch:
    return Launch(root=tmp_path, parent=warm_parent, data_dir=folder)


def test_two_ranks_learn_ratings_and_beat_the_baselines(launch_ratings: Launch, tmp_path: Path) -> None:
    """Tastes are in no mean: only the vectors can know them."""
    attempt = launch_ratings(SPEC).run()

    assert attempt.weights()
    artifacts = attempt.run_dir.artifacts
    metrics = json.loads((artifacts / "metrics.json").read_text())
    baselines = metrics["baselines"]
    assert metrics["test"]["rmse"] < 0.7 * baselines["shrunk_user_and_item_effects"]["rmse"]
    assert baselines["shrunk_user_and_item_effects"]["rmse"] < baselines["mean"]["rmse"] * 1.05
    table = write(tmp_path / "new" / "rows.csv", ["userId", "item_id"], [["u0", "i0"], ["u0", "i1"], ["nobody", "i0"], ["u0", ""]])
    config = read_config(artifacts)
    predictor = predictor_class("recommendation")(artifacts, config, load_model(artifacts, config, "cpu"))
    with torch.inference_mode():
        found = list(predictor.predict([table]))
    assert found[0]["prediction"] > found[1]["prediction"] + 2
    had = {row[1] for row in tastes()[:384] if row[0] == "u0"}
    best = [row["item"] for row in found[3:]]
    assert len(best) == min(10, NUM_ITEMS - len(had))
    assert not had & set(best)


def test_two_ranks_learn_to_rank(launch_ratings: Launch) -> None:
    attempt = launch_ratings(IMPLICIT).run()

    assert attempt.weights()
    recalls = attempt.series("validation_recall_at_10")
    assert max(recalls) > 0.7
    assert attempt.series("test_ndcg_at_10")
    with (attempt.run_dir.artifacts / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert json.loads(rows[0]["prediction"])[0].startswith("i")


@pytest.mark.parametrize("spec", [SPEC, IMPLICIT], ids=["ratings", "rankings"])
def test_promise_08_a_kill_and_a_resume_give_the_same_weights(launch_ratings: Launch, spec: dict[str, Any]) -> None:
    assert launch_ratings.killed_and_resumed(spec, after=21).weights() == launch_ratings(spec).run().weights()


def test_a_metric_that_the_feedback_does_not_have_is_invalid_data(launch_ratings: Launch) -> None:
    attempt = launch_ratings({**SPEC, "evaluation": {"metric": "ndcg_at_10"}}).run()

    assert "no metric ndcg_at_10 for ratings" in attempt.expect(Reason.INVALID_DATA).message
