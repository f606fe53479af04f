"""Scores of classifiers against scikit-learn's."""

import pytest
import torch
from sklearn.metrics import f1_score, log_loss, precision_recall_fscore_support, top_k_accuracy_score

from trainer.class_scores import ClassTally, confusion_of, per_class
from trainer.parallel import Ranks

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(200, 7, generator=GENERATOR) * 2
LABELS = torch.randint(0, 6, (200,), generator=GENERATOR)  # class 6 has no rows, but predictions
CPU = torch.device("cpu")
ALONE = Ranks(rank=0, world_size=1, device=CPU)


def test_scores_are_those_of_scikit_learn_however_the_rows_are_cut() -> None:
    tally = ClassTally(7, CPU)
    for start in range(0, 200, 33):
        tally.add(LOGITS[start : start + 33], LABELS[start : start + 33])

    probabilities, predicted = LOGITS.double().softmax(1).numpy(), LOGITS.argmax(1).numpy()
    assert tally.total(ALONE) == {
        "loss": pytest.approx(log_loss(LABELS, probabilities, labels=range(7))),
        "accuracy": pytest.approx((predicted == LABELS.numpy()).mean()),
        "top5": pytest.approx(top_k_accuracy_score(LABELS, probabilities, k=5, labels=range(7))),
        "macro_f1": pytest.approx(f1_score(LABELS, predicted, average="macro", labels=range(7), zero_division=0)),
    }


def test_five_classes_have_no_top_five() -> None:
    tally = ClassTally(5, CPU)
    tally.add(LOGITS[:, :5], LABELS.clamp(max=4))

    assert tally.total(ALONE).keys() == {"loss", "accuracy", "macro_f1"}


def test_each_class_has_its_own_precision_and_recall() -> None:
    predicted = LOGITS.argmax(1).numpy()
    found = per_class(confusion_of(LABELS.numpy(), predicted, 7), [f"class {number}" for number in range(7)])

    reference = precision_recall_fscore_support(LABELS, predicted, labels=range(7), zero_division=0)
    for number, (precision, recall, f1, rows) in enumerate(zip(*reference, strict=True)):
        assert found[f"class {number}"] == {
            "precision": pytest.approx(precision),
            "recall": pytest.approx(recall),
            "f1": pytest.approx(f1),
            "rows": rows,
        }
