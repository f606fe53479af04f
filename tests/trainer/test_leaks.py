"""Leaks between splits, duplicates, and classes of different sizes."""

from typing import Any

import numpy as np
import pytest
import torch

from core.recipes.sections.data import DataKnobs
from trainer.data.balance import balanced_order, class_weights
from trainer.data.findings import Findings
from trainer.data.leaks import drop_or_report_leaks, normalised
from trainer.data.splits import Splits
from trainer.errors import InvalidData

#       training: 0-5                                      | validation: 6-7          | test: 8-9
TEXTS = ["a cat", "a dog", "a cat", "An  Owl!", "a fox", "b", "an owl", "a yak", "a dog", "A YAK."]


def checked(keys: list[Any] = TEXTS, **knobs: Any) -> tuple[Splits, Findings]:
    findings = Findings()
    splits = Splits(train=np.arange(6), validation=np.arange(6, 8), test=np.arange(8, 10))
    return drop_or_report_leaks(splits, keys, DataKnobs(**knobs), findings), findings


def test_leaks_are_reported_and_nothing_moves_by_default() -> None:
    splits, findings = checked()

    findings.settle("fail")
    assert splits.train.tolist() == list(range(6))
    assert findings.counts == {
        "rows in both training and test": 1,
        "rows in both training and validation but for case, spaces and punctuation": 1,
        "rows in both validation and test but for case, spaces and punctuation": 1,
    }


def test_leaking_rows_leave_the_split_that_is_learned_from() -> None:
    splits, findings = checked(leaks="drop", drop_duplicates=True)

    findings.settle("fail")
    assert (splits.train.tolist(), splits.validation.tolist(), splits.test.tolist()) == ([0, 4, 5], [6], [8, 9])
    assert findings.counts["duplicate training rows dropped"] == 1
    assert findings.counts["leaking rows dropped from training"] == 2
    assert findings.counts["leaking rows dropped from validation"] == 1


def test_leaks_may_fail_the_job() -> None:
    _, findings = checked(leaks="fail")

    with pytest.raises(InvalidData) as caught:
        findings.settle("drop")
    assert caught.value.problems[0] == "1 rows stand in both training and validation"


def test_a_split_that_leaks_whole_is_refused_rather_than_emptied() -> None:
    _, findings = checked(["x"] * 10, leaks="drop")

    with pytest.raises(InvalidData, match="nothing is left of the training split"):
        findings.settle("drop")


def test_bytes_are_compared_as_they_are() -> None:
    keys = [bytes([number]) for number in (1, 2, 3, 4, 5, 6, 7, 1, 8, 2)]
    splits, findings = checked(keys, leaks="drop")

    assert splits.train.tolist() == [2, 3, 4, 5]
    assert findings.counts["rows in both training and test"] == 1


def test_normalising_keeps_what_is_nothing_but_signs() -> None:
    assert normalised("  \uff28éllo,\tWORLD!_ ") == "héllo world"
    assert normalised("?!") != normalised("...")


def test_class_weights_have_mean_one_over_the_rows() -> None:
    labels = np.repeat(np.arange(3), (70, 20, 10))
    weights = class_weights(labels, 4, "balanced")

    assert weights.dtype == torch.float32
    assert weights[labels].mean().item() == pytest.approx(1.0)
    assert (weights[:3] * torch.tensor([70.0, 20.0, 10.0])).tolist() == pytest.approx([100 / 3] * 3)
    assert weights[3] == 1.0
    assert class_weights(labels, 4, "none").tolist() == [1.0] * 4


def test_balanced_order_draws_every_class_equally_often_and_epochs_differ() -> None:
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(3), (70, 20, 11)))
    epochs = [balanced_order(labels, seed=7, epoch=epoch) for epoch in range(3)]

    for order in epochs:
        assert len(order) == len(labels)
        assert sorted(np.bincount(labels[order]).tolist()) == [33, 34, 34]
        assert np.bincount(order, minlength=len(labels))[labels == 2].min() >= 3
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(epochs[2], balanced_order(labels, seed=7, epoch=2))


def test_balanced_order_of_more_classes_than_rows_of_a_share() -> None:
    labels = np.array([0, 1, 2, 2, 2])

    assert sorted(np.bincount(labels[balanced_order(labels, seed=1, epoch=0)]).tolist()) == [1, 2, 2]
