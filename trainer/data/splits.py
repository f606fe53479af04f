"""Training, validation and test rows: every class in the same proportion, decided by the seed alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trainer.determinism import generator

Rows = npt.NDArray[np.int64]
_SPLIT_STREAM = 0x51  # keeps these draws apart from every other use of the same seed


@dataclass(frozen=True, slots=True)
class Splits:
    """Row numbers, ascending, disjoint, together all rows."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(labels: npt.NDArray[np.int64], *, seed: int, validation_fraction: float, test_fraction: float) -> Splits:
    """Each class gives its share to validation and test, rounded, one row at least, and keeps one for training."""
    parts: tuple[list[Rows], list[Rows], list[Rows]] = ([], [], [])
    for label in np.flatnonzero(np.bincount(labels)):  # np.unique would import numpy.ma, 20 ms before the first step
        rows = np.flatnonzero(labels == label)
        order = torch.randperm(len(rows), generator=generator(seed, _SPLIT_STREAM, int(label))).numpy()
        num_test = max(1, round(len(rows) * test_fraction))
        num_validation = max(1, min(round(len(rows) * validation_fraction), len(rows) - num_test - 1))
        shuffled = rows[order]
        parts[2].append(shuffled[:num_test])
        parts[1].append(shuffled[num_test : num_test + num_validation])
        parts[0].append(shuffled[num_test + num_validation :])
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return Splits(train=train, validation=validation, test=test)
