"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for hidden matrices and AdamW for everything else, as one optimiser."""

import math
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from trainer.shards import is_sharded, laid_out_like, own_gradient, own_part, own_parts, whole

# The quintic a*X + b*(X X^T)X + c*(X X^T)^2 X whose slope at 0 is greatest while five rounds still end near 1.
A, B, C = 3.4445, -4.7750, 2.0315
NUM_ROUNDS = 5


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """(M, N) to U V^T of its singular value decomposition, about: all singular values end between 0.7 and 1.2.

    Newton and Schulz's iteration, which needs nothing but products of matrices; in bfloat16 where those are fast.
    """
    x = matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    is_tall = x.size(0) > x.size(1)
    x = x.mT if is_tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(NUM_ROUNDS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return (x.mT if is_tall else x).to(matrix.dtype)


class MuonWithAdamW(Optimizer):
    """Groups with ``uses_muon`` hold matrices (convolutions count as (channels out, everything else)), other groups anything.

    An orthogonal update is scaled to the size that AdamW's updates have (0.2 * sqrt(longer side): Liu et al. 2025,
    arXiv:2502.16982), so both kinds of groups go by one rate and one weight decay.
    """

    def __init__(self, params: Any, *, lr: float, momentum: float, betas: tuple[float, float]) -> None:
        own = {"momentum": momentum, "betas": betas, "eps": 1e-8, "weight_decay": 0.0, "uses_muon": False}
        super().__init__(params, {"lr": lr, **own, "fused": True})  # "fused": a loaded ``step`` then goes to the parameter's device

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Does nothing to parameters without a gradient. A collective where parameters are sharded. There is no closure."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["uses_muon"]:
                for parameter in parameters:
                    self._step_matrix(parameter, group)
            elif parameters:
                self._step_by_adamw(parameters, group)

    def _step_matrix(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state, rate = self.state[parameter], group["lr"]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        weight, gradient, momentum = own_part(parameter), own_gradient(parameter), own_part(state["momentum"])
        momentum.lerp_(gradient, 1.0 - group["momentum"])
        ahead = torch.empty_like(parameter)  # Nesterov: where the momentum will be after another such gradient
        own_part(ahead).copy_(torch.lerp(gradient, momentum, group["momentum"]))
        update = _orthogonal_update(ahead)
        weight.mul_(1.0 - rate * group["weight_decay"])
        weight.sub_(own_part(update), alpha=rate)

    def _step_by_adamw(self, parameters: list[torch.Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                moments = {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
                self.state[parameter].update(step=torch.zeros((), device=parameter.device), **moments)
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            own_parts(parameters),
            [own_gradient(parameter) for parameter in parameters],
            own_parts([state["exp_avg"] for state in states]),
            own_parts([state["exp_avg_sq"] for state in states]),
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _orthogonal_update(ahead: torch.Tensor) -> torch.Tensor:
    """Of a sharded matrix every rank computes the whole update, so that it is the one an unsharded run would make."""
    matrix = whole(ahead).flatten(1)
    update = (orthogonalised(matrix) * (0.2 * math.sqrt(max(matrix.shape)))).view(ahead.shape)
    return laid_out_like(update, ahead) if is_sharded(ahead) else update
