"""Objective functions by name. Every one is a mean over rows (or the tokens that count): with class weights too, whose own mean is 1
over the training rows. Dividing by the sum of the weights at hand would make the loss depend on who shares a batch with whom.

Shapes: (...) are rows, or rows and positions, of any number of axes; K classes are the last axis of logits.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch.nn import functional

IGNORED = -100  # the target of a position that does not count

ClassLossName = Literal["cross_entropy", "focal", "binary"]
LossName = ClassLossName | Literal["mse", "mae", "huber"]
# As specs name them.
CLASS_LOSSES: dict[str, ClassLossName] = {"cross-entropy": "cross_entropy", "focal": "focal", "binary": "binary"}
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (outputs, targets) to the mean


def loss_function(
    name: LossName,
    *,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    delta: float = 1.0,
) -> Loss:
    """``gamma`` is of focal, ``delta`` of huber. ValueError when a regression is to weigh or smooth classes."""
    weighing: dict[str, Any] = {"class_weights": class_weights, "label_smoothing": label_smoothing}
    if name == "cross_entropy":
        return partial(cross_entropy, **weighing)
    if name == "focal":
        return partial(focal, gamma=gamma, **weighing)
    if name == "binary":
        return partial(binary, **weighing)
    if class_weights is not None or label_smoothing:
        raise ValueError(f"{name} has no classes")
    regressions: dict[str, Loss] = {"mse": mse, "mae": mae, "huber": partial(huber, delta=delta)}
    return regressions[name]


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, *, class_weights: torch.Tensor | None = None, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Of logits (..., K) and classes (...), some of them IGNORED, or probabilities (..., K). The mean over what counts; 0 of nothing.

    Smoothing: Szegedy et al. 2016 (arXiv:1512.00567).
    """
    logits, targets = _as_rows(logits, targets)
    weights = None if class_weights is None else class_weights.to(logits)
    total = functional.cross_entropy(logits, targets, weights, reduction="sum", ignore_index=IGNORED, label_smoothing=label_smoothing)
    return total / num_counted(logits, targets)


def focal(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    gamma: float = 2.0,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """-(1 - p)^gamma log p of the class that is right: Lin et al. 2017 (arXiv:1708.02002), for exclusive classes. Takes what
    ``cross_entropy`` takes; of probabilities, each class counts by its own."""
    logits, targets = _as_rows(logits, targets)
    log_p = functional.log_softmax(logits, -1)
    losses = -((1.0 - log_p.exp()) ** gamma) * log_p
    if class_weights is not None:
        losses = losses * class_weights.to(losses)
    return (losses * _probabilities(logits, targets, label_smoothing)).sum() / num_counted(logits, targets)


def binary(
    logits: torch.Tensor, targets: torch.Tensor, *, class_weights: torch.Tensor | None = None, label_smoothing: float = 0.0
) -> torch.Tensor:
    """A yes-no question for each class, added up: Wightman et al. 2021 (arXiv:2110.00476). Takes what ``cross_entropy`` takes.

    A class's weight is that of its yes, so that a rare class is missed less; smoothing moves every answer towards 1/K.
    """
    logits, targets = _as_rows(logits, targets)
    counted = targets[:, 0].new_ones(len(targets)) if targets.is_floating_point() else (targets != IGNORED).to(logits)
    wanted = _probabilities(logits, targets, label_smoothing)
    weights = None if class_weights is None else class_weights.to(logits)
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none", pos_weight=weights)
    return (losses.sum(-1) * counted).sum() / num_counted(logits, targets)


def mse(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Squared differences of two tensors of one shape."""
    return functional.mse_loss(outputs.float(), _alike(outputs, targets))


def mae(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.l1_loss(outputs.float(), _alike(outputs, targets))


def huber(outputs: torch.Tensor, targets: torch.Tensor, *, delta: float = 1.0) -> torch.Tensor:
    """Half the square of differences up to ``delta``, linear beyond (Huber 1964)."""
    return functional.huber_loss(outputs.float(), _alike(outputs, targets), delta=delta)


def ctc(log_probs: torch.Tensor, targets: torch.Tensor, num_frames: torch.Tensor, num_targets: torch.Tensor) -> torch.Tensor:
    """Connectionist temporal classification (Graves et al. 2006): (N,) losses, each per target symbol.

    Log probabilities (N, T, K), class 0 the blank; targets (N, S); how many frames and symbols of each row count, (N) each. A
    row whose symbols cannot be said in its frames counts 0: no weights would make it likely. On the CPU where determinism is
    asked for: the CUDA kernel adds in any order.
    """
    device = log_probs.device
    if device.type == "cuda" and torch.are_deterministic_algorithms_enabled():
        log_probs, targets, num_frames, num_targets = (tensor.cpu() for tensor in (log_probs, targets, num_frames, num_targets))
    losses = functional.ctc_loss(log_probs.transpose(0, 1), targets, num_frames, num_targets, reduction="none", zero_infinity=True)
    return (losses / num_targets.to(losses).clamp(min=1.0)).to(device)


def num_counted(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How many rows or tokens a mean is over, at least 1; ``targets`` are classes or probabilities."""
    if targets.is_floating_point():
        return logits.new_tensor(float(logits[..., 0].numel())).clamp(min=1.0)
    return (targets != IGNORED).sum().to(logits.dtype).clamp(min=1.0)


def _as_rows(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, K) and (rows) or (rows, K), float32 where real."""
    num_classes = logits.shape[-1]
    is_soft = targets.is_floating_point()
    return logits.float().reshape(-1, num_classes), targets.float().reshape(-1, num_classes) if is_soft else targets.reshape(-1)


def _probabilities(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Targets as (rows, K) probabilities, all 0 where IGNORED."""
    if not targets.is_floating_point():
        counted = targets != IGNORED
        targets = functional.one_hot(targets.where(counted, 0), logits.shape[-1]).to(logits) * counted[:, None]
    return targets * (1.0 - label_smoothing) + targets.sum(-1, keepdim=True) * (label_smoothing / logits.shape[-1])


def _alike(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Guards against broadcasting (N, 1) against (N), which means every output against every target. ValueError then."""
    if outputs.shape != targets.shape:
        raise ValueError(f"outputs of shape {tuple(outputs.shape)} cannot be compared with targets of shape {tuple(targets.shape)}")
    return targets.float()
