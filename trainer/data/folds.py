"""k-fold cross-validation: which rows are tested on in one of the folds."""

import numpy as np
import numpy.typing as npt
import torch

from trainer.determinism import generator

_FOLD_STREAM = 0xF0


def fold_parts(num_rows: int, labels: npt.NDArray[np.int64] | None, *, index: int, count: int, seed: int) -> list[str | None]:
    """``test`` for the rows of fold ``index`` of ``count``, None for the others. Over all indices every row is tested once.

    With ``labels``, rows are dealt out class by class, so that folds differ by one row of a class at most, and by one row in all.
    """
    order = torch.randperm(num_rows, generator=generator(seed, _FOLD_STREAM)).numpy()
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    fold_of = np.empty(num_rows, dtype=np.int64)
    fold_of[order] = np.arange(num_rows) % count
    return ["test" if fold == index else None for fold in fold_of.tolist()]
