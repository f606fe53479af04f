"""Penalties on the size of the weights: l1 * sum |w| + l2 * sum w^2 / 2 over all weights, not over norms and biases.

They are added to the gradient, not to the loss. A penalty does not depend on the data: added on every rank after the
gradients have been averaged it is exact for any number of ranks and micro-batches, each rank adds to its own part where
weights are sharded, and neither a graph nor a loss scale is in the way. The loss that is logged stays that of the data.
"""

import torch
from torch import nn

from core.recipes.sections.training import TrainingKnobs
from trainer.optim.groups import owned_parameters
from trainer.shards import own_part, own_parts


@torch.no_grad()
def add_penalties(model: nn.Module, knobs: TrainingKnobs) -> None:
    """Call it when gradients are complete and unscaled, before they are clipped. A weight without a gradient is left alone."""
    if not (knobs.l1 or knobs.l2):
        return
    penalised = [owned.parameter for owned in owned_parameters(model) if owned.decays and owned.parameter.grad is not None]
    if not penalised:
        return
    weights = own_parts(penalised)
    gradients = [own_part(parameter.grad) for parameter in penalised if parameter.grad is not None]
    if knobs.l2:
        torch._foreach_add_(gradients, weights, alpha=knobs.l2)
    if knobs.l1:
        torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=knobs.l1)
