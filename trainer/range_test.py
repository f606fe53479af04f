"""The learning-rate range test (Smith 2017, arXiv:1506.01186): some steps with a rate that grows from far too small to far too large,
and of those rates the one at which the loss fell best."""

from collections.abc import Iterator, Sequence
from statistics import fmean

import torch
from torch import nn

from trainer.parallel import Ranks, clip_gradient, gradient_norm
from trainer.tasks.task import Task
from trainer.trial import gradient_of_step, on_trial, outcomes_of_step

SMALLEST, LARGEST, LARGEST_OF_SGD = 1e-6, 1.0, 10.0
WINDOW = (1, 2, 3, 4, 5, 4, 3, 2, 1)  # weights of a loss and its neighbours; centred, for a lagging average would find greater rates
HOPELESS = 4.0  # times the loss of the untrained model: no greater rate is worth a try


def find_rate(task: Task, model: nn.Module, ranks: Ranks, *, batch_size: int | None = None, num_steps: int = 60) -> float:
    """A collective: the peak rate for ``model``, the same on every rank. ``model`` and random states are left as they were.

    ``batch_size`` is that of a step over all ranks, which the spec may have left to the node.
    """
    wanted = task.knobs.batch_size if batch_size is None else batch_size
    assert wanted != "auto", "the batch size is found before the rate"
    largest = LARGEST_OF_SGD if task.knobs.optimizer == "sgd" else LARGEST
    rates = [SMALLEST * (largest / SMALLEST) ** (step / (num_steps - 1)) for step in range(num_steps)]
    with on_trial(model, ranks):
        losses = list(_losses(task, model, ranks, rates=rates, batch_size=wanted))
    return best_of(rates, losses)


def _losses(task: Task, model: nn.Module, ranks: Ranks, *, rates: Sequence[float], batch_size: int) -> Iterator[float]:
    """The mean loss of all ranks before each step, until there is nothing more to learn.

    Of each batch's loss only the difference to what the untrained model loses on it is looked at: that one batch is harder
    than the next would drown how the first rates make the model better.
    """
    untrained = _untrained_losses(task, model, ranks, num_steps=len(rates), batch_size=batch_size)
    start, optimizer = fmean(untrained), task.build_optimizer(model)
    for step, rate in enumerate(rates):
        optimizer.zero_grad(set_to_none=True)
        total, weight = ranks.sum(gradient_of_step(task, model, ranks, step=step, batch_size=batch_size))
        loss = start + total / max(weight, 1.0) - untrained[step]
        if not loss <= HOPELESS * start:  # or it is NaN
            return
        yield loss
        if task.knobs.gradient_clip is not None:
            clip_gradient(model, task.knobs.gradient_clip, gradient_norm(model))
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("rate_share", 1.0)
        optimizer.step()


@torch.no_grad()
def _untrained_losses(task: Task, model: nn.Module, ranks: Ranks, *, num_steps: int, batch_size: int) -> list[float]:
    totals, weights = [], []
    for step in range(num_steps):
        outcomes = list(outcomes_of_step(task, model, ranks, step=step, batch_size=batch_size))
        totals.append(sum(outcome.loss.item() * outcome.weight for outcome in outcomes))
        weights.append(sum(outcome.weight for outcome in outcomes))
    return [total / max(weight, 1.0) for total, weight in zip(ranks.sum(totals), ranks.sum(weights), strict=True)]


def best_of(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the smoothed loss falls fastest per factor of the rate, on its way to the minimum, or a tenth of the rate
    at the minimum if that is more: a first easy gain (an offset of all outputs) can be the steepest, and is not all there is.

    Loss ``i`` is the one before the step with rate ``i``; they may end early. What comes after the loss has been clearly
    above its beginning is not looked at: a model that recovers from an explosion falls faster than any that learns. The
    smallest rate when the loss only rises.
    """
    curve = smoothed(losses)
    end = next((step for step, loss in enumerate(curve) if loss > 1.1 * curve[0]), len(curve))
    lowest = min(range(end), key=curve.__getitem__, default=0)
    falls = [curve[step] - curve[step + 1] for step in range(lowest)]
    if not falls:
        return rates[0]
    return max(rates[max(range(lowest), key=falls.__getitem__)], rates[lowest] / 10)


def smoothed(losses: Sequence[float]) -> list[float]:
    """Each loss averaged with its neighbours; the window is cut off at both ends."""
    half = len(WINDOW) // 2
    curve = []
    for middle in range(len(losses)):
        reach = range(max(middle - half, 0), min(middle + half + 1, len(losses)))
        weights = [WINDOW[step - middle + half] for step in reach]
        curve.append(sum(losses[step] * weight for step, weight in zip(reach, weights, strict=True)) / sum(weights))
    return curve
