"""Adafactor: Shazeer & Stern 2018 (arXiv:1804.04235), as ``torch.optim.Adafactor`` computes it, but for sharded parameters too."""

import math
from typing import Any

import torch
from torch.optim import Optimizer

from trainer.shards import laid_out_like, own_part, whole

BETA2_DECAY = -0.8
SMALLEST_SIZE = 1e-3


class Adafactor(Optimizer):
    """Remembers mean squares of a matrix's gradient by row and by column in place of each element's.

    A step is relative to the size (RMS) of the weights; ``lr`` is the most it may be of that, and 1/sqrt(step) another bound.
    """

    def __init__(self, params: Any, *, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Does nothing to parameters without a gradient. A collective where parameters are sharded. There is no closure."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_parameter(parameter, lr=group["lr"], weight_decay=group["weight_decay"])

    def _step_parameter(self, parameter: torch.Tensor, *, lr: float, weight_decay: float) -> None:
        assert parameter.grad is not None
        gradient, state = whole(parameter.grad), self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
        state["step"] += 1
        step = state["step"].item()
        eps = torch.finfo(gradient.dtype).eps
        update = gradient * self._mean_square(gradient, state, step**BETA2_DECAY, eps).clamp_(min=eps * eps).rsqrt_()
        size = max(_rms(whole(parameter)), SMALLEST_SIZE) * min(lr, step**-0.5)
        update.mul_(-size / max(1.0, _rms(update)))
        weight = own_part(parameter)
        weight.mul_(1.0 - lr * weight_decay)
        weight.add_(own_part(laid_out_like(update, parameter)))

    @staticmethod
    def _mean_square(gradient: torch.Tensor, state: dict[str, Any], new_share: float, eps: float) -> torch.Tensor:
        """The moving average of the squared gradient, of matrices (the last two axes) the product of its margins."""
        if gradient.dim() <= 1:
            return _follow(state, "variance", gradient.square(), new_share).clone()
        rows = _follow(state, "row_var", gradient.square().mean(-1, keepdim=True), new_share)
        columns = _follow(state, "col_var", gradient.square().mean(-2, keepdim=True), new_share)
        return rows @ columns / rows.mean(-2, keepdim=True).clamp_(min=eps)


def _follow(state: dict[str, Any], name: str, value: torch.Tensor, new_share: float) -> torch.Tensor:
    if name not in state:
        state[name] = torch.zeros_like(value)
    average: torch.Tensor = state[name].lerp_(value, new_share)
    return average


def _rms(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor)) / math.sqrt(tensor.numel())
