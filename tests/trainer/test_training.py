"""What holds between runs: ranks share the work without changing it, evaluation stops early, gradients are clipped."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.states import Reason
from tests.trainer.launching import Launch

DIGITS: dict[str, Any] = {"recipe": "image-classification", "dataset": {"builtin": "digits"}, "model": {"width": 4}}


def test_two_ranks_learn_what_one_rank_learns(launch: Launch) -> None:
    """Up to rounding: the same rows in each step, gradients averaged. (With batch norm each rank has its own statistics of a batch.)"""
    spec = {"recipe": "scripted", "training": {"steps": 30}}
    one, two = launch(spec, num_ranks=1).run(), launch(spec, num_ranks=2).run()

    assert one.series("loss") == pytest.approx(two.series("loss"), rel=1e-4)
    assert one.series("test_loss") == pytest.approx(two.series("test_loss"), rel=1e-4)
    assert one.series("loss")[-1] < one.series("loss")[0]


def test_training_ends_early_when_accuracy_no_longer_rises_and_keeps_the_best(launch: Launch) -> None:
    """No evaluation can beat the first by 0.99, so patience ends after two more."""
    spec = {**DIGITS, "training": {"epochs": 9}, "evaluation": {"patience": 2, "min_delta": 0.99}}
    attempt = launch(spec).run()

    accuracies = attempt.series("validation_accuracy")
    assert len(accuracies) == 3
    result = attempt.result()
    assert result is not None
    assert result.step == 3 * 20


def test_evaluation_happens_every_so_many_epochs_and_after_the_last(launch: Launch) -> None:
    attempt = launch({**DIGITS, "training": {"epochs": 5, "batch_size": 256}, "evaluation": {"every_epochs": 2}}).run()

    assert [line.step for line in attempt.metrics() if "validation_loss" in line.values] == [10, 20, 25]


def test_points_are_logged_as_often_as_asked_and_the_first_step_always(launch: Launch) -> None:
    attempt = launch({**DIGITS, "training": {"epochs": 1, "batch_size": 64, "log_every_steps": 6}}).run()

    assert [line.step for line in attempt.metrics() if "loss" in line.values] == [1, 6, 12, 18]


def test_a_clipped_gradient_moves_the_weights_no_further_than_allowed(launch: Launch) -> None:
    """The norm that is told is the one before clipping; with almost nothing left of it, the loss cannot move."""
    training = {"epochs": 1, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "gradient_clip": 1e-6, "max_shift": 0}
    attempt = launch({**DIGITS, "training": {**training, "batch_size": 1258}, "evaluation": {"every_epochs": 1}}).run()
    free = launch({**DIGITS, "training": {**training, "gradient_clip": None, "batch_size": 1258}}).run()

    assert attempt.series("gradient_norm")[0] == free.series("gradient_norm")[0] > 1e-3
    assert attempt.series("validation_loss") != free.series("validation_loss")


@pytest.mark.parametrize("average", [{}, {"ema": 0.9}, {"swa_share": 0.3}], ids=["last weights", "moving average", "plain average"])
def test_promise_10_every_rank_tests_what_is_packaged(launch: Launch, digits_dir: Path, average: dict[str, float]) -> None:
    """Batch norms have statistics of their own on each rank, and so have their averages: a rank must not be scored by its own."""
    training = {"epochs": 2, "batch_size": 64, **average}
    attempt = launch({**DIGITS, "training": training, "evaluation": {"every_epochs": 2}}).run()
    attempt.expect(Reason.COMPLETED)

    with (attempt.run_dir.artifacts / "predictions.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    images = np.load(digits_dir / "images.npy")[[int(row["row"]) for row in told]]
    with torch.inference_mode():
        found = torch.export.load(attempt.run_dir.artifacts / "model.pt2").module()(torch.from_numpy(images)).softmax(1)
    for number in range(10):
        column = [float(row[f"probability_{number}"]) for row in told]
        assert found[:, number].tolist() == pytest.approx(column, abs=2e-5)
