"""A part of a split that stands for all of it while training goes on."""

import numpy as np
import numpy.typing as npt
import torch

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
