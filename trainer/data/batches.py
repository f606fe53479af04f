"""Which images a rank sees in a step: a pure function of (seed, epoch, step, rank), so there is no iterator to lose."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from trainer.determinism import generator

Rows = npt.NDArray[np.int64]
_ORDER_STREAM = 0x0D


def num_steps(num_rows: int, batch_size: int) -> int:
    """Steps of one epoch. The last batch is filled up from the front of the epoch's order (every row is seen, none starves a rank)."""
    return -(-num_rows // batch_size)


def rows_of_step(num_rows: int, *, seed: int, epoch: int, step: int, batch_size: int, rank: int, world_size: int) -> Rows:
    """The positions, below ``num_rows``, of this rank's share; ``batch_size`` counts all ranks and divides by their number."""
    share = batch_size // world_size
    first = step * batch_size + rank * share
    return _order(num_rows, seed, epoch)[np.arange(first, first + share) % num_rows]


@lru_cache(maxsize=2)
def _order(num_rows: int, seed: int, epoch: int) -> Rows:
    order: Rows = torch.randperm(num_rows, generator=generator(seed, _ORDER_STREAM, epoch)).numpy()
    return order
