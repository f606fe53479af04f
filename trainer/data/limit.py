"""Which rows of a split an evaluation looks at: while training goes on a part may stand for all of them."""

import numpy as np
import numpy.typing as npt
import torch

from trainer.data.splits import Splits
from trainer.determinism import generator

Rows = npt.NDArray[np.int64]
_LIMIT_STREAM = 0x17


def limited(rows: Rows, limit: int | None, *, seed: int) -> Rows:
    """At most ``limit`` of ``rows``, chosen by the seed, in their order; all of them for None."""
    if limit is None or limit >= len(rows):
        return rows
    chosen = torch.randperm(len(rows), generator=generator(seed, _LIMIT_STREAM))[:limit]
    part: Rows = rows[np.sort(chosen.numpy())]
    return part


def rows_to_score(splits: Splits, split: str, limit: int | None, *, seed: int) -> Rows:
    """Of the validation split at most ``limit``; of the others all."""
    rows: Rows = getattr(splits, split)
    return limited(rows, limit, seed=seed) if split == "validation" else rows
