"""Lion: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms" (arXiv:2302.06675), algorithm 2."""

from typing import Any

import torch
from torch.optim import Optimizer

from trainer.shards import own_gradient, own_parts


class Lion(Optimizer):
    """One momentum per weight; every weight moves by exactly the rate, in the direction of a sign.

    update   = sign(beta1 * momentum + (1 - beta1) * gradient)
    weight   = weight * (1 - rate * weight_decay) - rate * update
    momentum = beta2 * momentum + (1 - beta2) * gradient
    """

    def __init__(self, params: Any, *, lr: float, betas: tuple[float, float], weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Does nothing to parameters without a gradient. There is no closure."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step_group(parameters, group)

    def _step_group(self, parameters: list[torch.Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        beta1, beta2 = group["betas"]
        weights, gradients = own_parts(parameters), [own_gradient(parameter) for parameter in parameters]
        momenta = own_parts([self.state[parameter]["momentum"] for parameter in parameters])
        updates = torch._foreach_lerp(gradients, momenta, beta1)
        torch._foreach_sign_(updates)
        torch._foreach_mul_(weights, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, updates, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, gradients, 1.0 - beta2)
