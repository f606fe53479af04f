"""An order of rows in which neighbours are of similar length, so that little of a batch is padding."""

import numpy as np
import numpy.typing as npt
import torch

from trainer.determinism import generator

Rows = npt.NDArray[np.int64]
BATCHES_PER_POOL = 16
_BUCKET_STREAM = 0xB0C


def bucketed_order(lengths: npt.NDArray[np.int64], *, batch_size: int, seed: int, epoch: int) -> Rows:
    """Every row once. Rows are shuffled and pooled; each pool is sorted and cut into batches, and the batches are shuffled.

    A last batch that is not full stays the last, so that every other begins where a step begins.
    """
    shuffled = torch.randperm(len(lengths), generator=generator(seed, _BUCKET_STREAM, epoch, 0)).numpy()
    pool = batch_size * BATCHES_PER_POOL
    pools = [shuffled[start : start + pool] for start in range(0, len(shuffled), pool)]
    ordered = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in pools])
    num_full = len(ordered) // batch_size
    full = ordered[: num_full * batch_size].reshape(num_full, batch_size)
    turn = torch.randperm(num_full, generator=generator(seed, _BUCKET_STREAM, epoch, 1)).numpy()
    order: Rows = np.concatenate([full[turn].reshape(-1), ordered[num_full * batch_size :]])
    return order
