"""Scores of classifiers, added up batch by batch and over the ranks: loss, accuracy, top 5, macro F1, and each class's own."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from trainer.parallel import Ranks

TOP = 5


class ClassTally:
    """Counts of one split. A class without rows and predictions counts as F1 0, as in scikit-learn's macro average over all labels."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.num_classes = num_classes
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)  # loss, right, right among five, rows
        self._per_class = torch.zeros(3, num_classes, dtype=torch.float64, device=device)  # right, labels, predictions

    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """(N, K) and (N,), on the tally's device."""
        predicted = logits.argmax(1)
        right = predicted == labels
        among = (logits.topk(min(TOP, self.num_classes), dim=1).indices == labels[:, None]).any(1)
        loss = functional.cross_entropy(logits.double(), labels, reduction="sum")
        self._sums += torch.stack([loss, right.sum().double(), among.sum().double(), loss.new_tensor(len(labels))])
        for row, classes in enumerate((labels[right], labels, predicted)):
            self._per_class[row] += torch.bincount(classes, minlength=self.num_classes)

    def total(self, ranks: Ranks) -> dict[str, float]:
        """A collective: the metrics of all ranks' rows. ``top5`` is there for more than five classes."""
        numbers = ranks.sum(torch.cat([self._sums, self._per_class.flatten()]).tolist())
        loss, right, among, num = numbers[:4]
        per_class = np.array(numbers[4:]).reshape(3, self.num_classes)
        metrics = {"loss": loss / num, "accuracy": right / num, "macro_f1": float(f1_of(*per_class).mean())}
        if self.num_classes > TOP:
            metrics["top5"] = among / num
        return metrics


Counts = npt.NDArray[np.float64]


def f1_of(right: Counts, labels: Counts, predictions: Counts) -> Counts:
    """Of each class: twice the right ones over all that it is and all that it is taken for; 0 where both are none."""
    both = labels + predictions
    return np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0)


def per_class(confusion: npt.NDArray[np.int64], names: list[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and number of rows of each class, from counts with a row per label and a column per prediction."""
    right, labels, predictions = (np.asarray(part, dtype=np.float64) for part in (np.diag(confusion), confusion.sum(1), confusion.sum(0)))
    precision = np.divide(right, predictions, out=np.zeros_like(right), where=predictions > 0)
    recall = np.divide(right, labels, out=np.zeros_like(right), where=labels > 0)
    columns = zip(names, precision, recall, f1_of(right, labels, predictions), labels, strict=True)
    return {name: {"precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)} for name, p, r, f, n in columns}


def confusion_of(labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.int64]:
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts
