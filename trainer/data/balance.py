"""Classes of different sizes: weights for the loss, or an order that draws every class equally often."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from trainer.determinism import generator

Rows = npt.NDArray[np.int64]
_BALANCE_STREAM = 0xBA


def class_weights(labels: npt.NDArray[np.int64], num_classes: int, kind: Literal["none", "balanced"]) -> torch.Tensor:
    """(num_classes,) float32 with mean 1 over the rows. ``balanced``: the inverse of a class's size; 1 for a class without rows."""
    weights = np.ones(num_classes)
    if kind == "balanced":
        counts = np.bincount(labels, minlength=num_classes)
        present = counts > 0
        weights[present] = len(labels) / (present.sum() * counts[present])
    return torch.from_numpy(weights.astype(np.float32))


def balanced_order(labels: npt.NDArray[np.int64], *, seed: int, epoch: int) -> Rows:
    """As many positions as there are ``labels``, every class equally often (give or take one), in a random order.

    Small classes come round several times before the epoch ends, none of their rows twice before each came once; of large
    ones each epoch sees another part.
    """
    classes = np.flatnonzero(np.bincount(labels))
    lucky = torch.randperm(len(classes), generator=generator(seed, _BALANCE_STREAM, epoch, 0)).numpy()
    share, rest = divmod(len(labels), len(classes))
    chosen = []
    for position, label in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        random = generator(seed, _BALANCE_STREAM, epoch, 1, int(label))
        wanted = share + int(lucky[position] < rest)
        rounds = [rows[torch.randperm(len(rows), generator=random).numpy()] for _ in range(-(-wanted // len(rows)))]
        if rounds:
            chosen.append(np.concatenate(rounds)[:wanted])
    drawn = np.concatenate(chosen)
    order: Rows = drawn[torch.randperm(len(drawn), generator=generator(seed, _BALANCE_STREAM, epoch, 2)).numpy()]
    return order
