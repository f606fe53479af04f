"""The batch size that fits: found before the first step where the spec leaves it to the node, or after memory ran out, for the error."""

from collections.abc import Callable
from copy import deepcopy

import psutil
import torch
from torch import nn

from trainer.parallel import Ranks
from trainer.shards import is_sharded, own_part
from trainer.tasks.task import Task
from trainer.trial import on_trial, outcome_of_part

MOST_ROWS = 1024  # of a step; a larger batch seldom learns faster
LEAST_STEPS = 8  # of an epoch
SHARE_OF_GPU = 0.9
SHARE_OF_MEMORY = 0.25  # of the node's, for activations: its other processes live there too


def find_batch_size(task: Task, model: nn.Module, ranks: Ranks, *, most_rows: int = MOST_ROWS) -> int:
    """A collective: rows per step, the same on every rank, as many micro-batches of a power of two as the step is made of.

    As large as fits, but no larger than ``most_rows`` and an eighth of the training rows; one row per micro-batch is not
    questioned. Rows are taken to be of one size. ``model`` and random states are left as they were.
    """
    num_parts = ranks.data_world * task.knobs.accumulate
    limit = power_of_two(min(most_rows, task.num_train_rows // LEAST_STEPS) // num_parts)
    find = _by_trial if ranks.device.type == "cuda" else _by_counting
    return num_parts * (find(task, model, ranks, limit) if limit > 1 else 1)


def largest_that_fits(task: Task, model: nn.Module, batch_size: int, ranks: Ranks) -> int | None:
    """After memory ran out with ``batch_size`` rows a step: how many would fit, halving it; 0 when even one row per micro-batch
    does not, None when nobody can tell: a model that is spread over ranks runs on all of them or not at all.

    Not a collective, for the other ranks may be fine. Free the gradients before.
    """
    if any(is_sharded(parameter) for parameter in model.parameters()):
        return None
    num_parts = ranks.data_world * task.knobs.accumulate
    num_rows = batch_size // num_parts // 2
    while num_rows and not step_fits(task, lambda: deepcopy(model), ranks, num_rows):
        num_rows //= 2
    return num_rows * num_parts


def power_of_two(number: int) -> int:
    """The greatest that is not greater; 1 for anything below."""
    return 1 << max(number, 1).bit_length() - 1


def step_fits(task: Task, model: Callable[[], nn.Module], ranks: Ranks, num_rows: int) -> bool:
    """Whether a micro-batch and an update, with an optimiser's memory of its own, go without running out of memory."""
    try:
        with on_trial(model(), ranks) as tried:
            optimizer = task.build_optimizer(tried)
            _loss(task, tried, ranks, num_rows).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        fits = True
    except torch.OutOfMemoryError:
        fits = False
    if ranks.device.type == "cuda":
        torch.cuda.empty_cache()  # after the except block: until its end the error keeps the failed step's tensors alive
    return fits


def _loss(task: Task, model: nn.Module, ranks: Ranks, num_rows: int) -> torch.Tensor:
    """R-Drop keeps the activations of two passes at a time."""
    losses = [
        outcome_of_part(task, model, ranks, step=0, num_rows=num_rows, part=ranks.data_rank, num_parts=ranks.data_world).loss
        for _ in range(2 if task.knobs.r_drop else 1)
    ]
    return torch.stack(losses).sum()


def _by_trial(task: Task, model: nn.Module, ranks: Ranks, limit: int) -> int:
    """Doubles until a step does not fit, or by the growth so far would not. Begins with two rows: batch norm cannot train on one."""
    num_rows, peaks = 2, [0.0]
    while True:
        _forget_peak(ranks)
        if not ranks.all_agree(step_fits(task, lambda: model, ranks, num_rows)):
            return num_rows // 2
        peaks.append(_peak(ranks))
        expected = peaks[-1] + 2.0 * (peaks[-1] - peaks[-2]) if len(peaks) > 2 else peaks[-1]
        if num_rows >= limit or not ranks.all_agree(expected <= SHARE_OF_GPU):
            return num_rows
        num_rows *= 2


def _forget_peak(ranks: Ranks) -> None:
    if ranks.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(ranks.device)


def _peak(ranks: Ranks) -> float:
    """The most memory held since, as a share of what this process can have; 0 where nobody counts."""
    if ranks.device.type != "cuda":
        return 0.0
    free, _ = torch.cuda.mem_get_info(ranks.device)
    return torch.cuda.max_memory_allocated(ranks.device) / (free + torch.cuda.memory_reserved(ranks.device))


def _by_counting(task: Task, model: nn.Module, ranks: Ranks, limit: int) -> int:
    """By the bytes that the backward pass will need of two and of four rows; too large a step would not fail but swap."""
    with on_trial(model, ranks) as tried:
        two, four = (bytes_kept(task, tried, ranks, num_rows) for num_rows in (2, 4))
    per_row = max((four - two) / 2, 1.0)
    room = psutil.virtual_memory().available * SHARE_OF_MEMORY / ranks.world_size - (two - 2 * per_row)
    own = min(power_of_two(int(max(room, 0.0) / per_row)), limit)
    votes = ranks.sum([float(own == 1 << exponent) for exponent in range(limit.bit_length())])
    return 1 << next(exponent for exponent, vote in enumerate(votes) if vote)


def bytes_kept(task: Task, model: nn.Module, ranks: Ranks, num_rows: int) -> int:
    """Bytes that a forward pass keeps for the backward pass, beside the weights themselves."""
    weights = {own_part(tensor.detach()).untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = own_part(tensor.detach()).untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = _loss(task, model, ranks, num_rows)
    kept = sum(size for address, size in sizes.items() if address not in weights)
    del loss  # until here: memory that was given back could have been counted twice under one address
    return kept
