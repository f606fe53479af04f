"""Steps on trial: a model is trained for a moment to learn something about it, and is afterwards what it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from trainer.data.batches import rows_of_step
from trainer.parallel import Ranks
from trainer.precision import autocast
from trainer.shards import is_sharded, own_part
from trainer.tasks.task import Draw, Outcome, Task


@contextmanager
def on_trial(model: nn.Module, ranks: Ranks) -> Iterator[nn.Module]:
    """``model`` in training mode. Whatever happens inside: weights, buffers, mode and torch's random states come back bit for bit,
    gradients are gone. The model itself is used, not a copy, for a sharded one cannot be copied.

    Not for a model whose DDP wrapper has been called already: that would want to average these gradients.
    """
    entries = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
    kept, was_training = [own_part(tensor).clone() for tensor in entries], model.training
    with torch.random.fork_rng([ranks.device] if ranks.device.type == "cuda" else []):
        try:
            yield model.train()
        finally:
            model.zero_grad(set_to_none=True)
            model.train(was_training)
            with torch.no_grad():
                for tensor, values in zip(entries, kept, strict=True):
                    own_part(tensor).copy_(values)


def outcome_of_part(task: Task, model: nn.Module, ranks: Ranks, *, step: int, num_rows: int, part: int, num_parts: int) -> Outcome:
    """The loss of one of the ``num_parts`` shares, of ``num_rows`` each, of a step of epoch 0."""
    rows = rows_of_step(task.order(0), step=step, batch_size=num_rows * num_parts, part=part, num_parts=num_parts)
    batch = task.train_batch(rows, Draw(seed=task.seed, epoch=0, step=step, part=part))
    with autocast(ranks.device, task.knobs):
        return task.loss(model, {name: tensor.to(ranks.device) for name, tensor in batch.items()})


def outcomes_of_step(task: Task, model: nn.Module, ranks: Ranks, *, step: int, batch_size: int) -> Iterator[Outcome]:
    """One after the other, those of this rank's micro-batches of a step of epoch 0; ``batch_size`` counts all ranks and micro-batches."""
    accumulate = task.knobs.accumulate
    num_parts = ranks.data_world * accumulate
    for part in range(ranks.data_rank * accumulate, (ranks.data_rank + 1) * accumulate):
        yield outcome_of_part(task, model, ranks, step=step, num_rows=batch_size // num_parts, part=part, num_parts=num_parts)


def gradient_of_step(task: Task, model: nn.Module, ranks: Ranks, *, step: int, batch_size: int) -> tuple[float, float]:
    """Leaves the step's gradient in the parameters, averaged over ranks and micro-batches.

    Returns the sum of this rank's losses times their weights, and of the weights.
    """
    total, weight = 0.0, 0.0
    for outcome in outcomes_of_step(task, model, ranks, step=step, batch_size=batch_size):
        (outcome.loss / task.knobs.accumulate).backward()  # type: ignore[no-untyped-call]
        total, weight = total + outcome.loss.item() * outcome.weight, weight + outcome.weight
    if ranks.world_size > 1:
        _average_gradients(model, ranks)
    return total, weight


def _average_gradients(model: nn.Module, ranks: Ranks) -> None:
    """Those of sharded parameters are averaged already."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None and not is_sharded(p.grad)]
    if gradients:
        flat = ranks.sum_tensor(torch.cat([gradient.flatten() for gradient in gradients])) / ranks.world_size
        for gradient, mean in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
