"""Which rows a rank sees in a step: a pure function of (seed, epoch, step, rank), so there is no iterator to lose."""

import numpy as np
import numpy.typing as npt
import torch

from trainer.determinism import generator

Rows = npt.NDArray[np.int64]
_ORDER_STREAM = 0x0D


def num_steps(num_rows: int, batch_size: int) -> int:
    """Steps of one epoch. The last batch is filled up from the front of the epoch's order (every row is seen, none starves a rank)."""
    return -(-num_rows // batch_size)


def rows_of_step(order: Rows, *, step: int, batch_size: int, part: int, num_parts: int) -> Rows:
    """The rows of one of a step's ``num_parts`` equal shares (ranks times micro-batches); ``batch_size`` divides by their number.

    Shares are consecutive in the order: the whole step is the same set of rows for any number of ranks and micro-batches.
    """
    share = batch_size // num_parts
    first = step * batch_size + part * share
    return order[np.arange(first, first + share) % len(order)]


def order_of_epoch(num_rows: int, *, seed: int, epoch: int) -> Rows:
    order: Rows = torch.randperm(num_rows, generator=generator(seed, _ORDER_STREAM, epoch)).numpy()
    return order
