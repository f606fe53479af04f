"""What a user is told about a classifier's answers on the test split: columns of predictions.csv, scores of each class, the matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.class_scores import confusion_of, per_class

MOST_LISTED_CLASSES = 1000  # beyond, a matrix of all pairs is no use to anyone
MOST_PROBABILITIES = 20  # columns of predictions.csv
MOST_NAMES = 50

Numbers = npt.NDArray[np.int64]


def probability_columns(probabilities: npt.NDArray[np.float32]) -> dict[str, list[Any]]:
    """``probability`` of the likeliest class of each row of (N, K), and of every class by its number where these are few."""
    rounded = probabilities.astype(np.float64).round(6)
    columns: dict[str, list[Any]] = {"probability": rounded.max(1).tolist()}
    if probabilities.shape[1] <= MOST_PROBABILITIES:
        columns |= {f"probability_{number}": column.tolist() for number, column in enumerate(rounded.T)}
    return columns


def confusion_matrix(labels: Numbers, predictions: Numbers, names: Sequence[str]) -> tuple[list[str], Numbers] | None:
    """The names, and counts with a row per label and a column per prediction; None of very many classes."""
    return (list(names), confusion_of(labels, predictions, len(names))) if len(names) <= MOST_LISTED_CLASSES else None


def class_details(labels: Numbers, predictions: Numbers, names: Sequence[str]) -> dict[str, Any]:
    """Of metrics.json: each class's precision, recall, F1 and number of rows; nothing of very many classes."""
    found = confusion_matrix(labels, predictions, names)
    return {} if found is None else {"per_class": per_class(found[1], found[0])}


def listed(names: Sequence[str]) -> str:
    """For the card."""
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
