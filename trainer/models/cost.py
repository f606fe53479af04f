"""What a forward pass of convolutions and linear layers costs, counted without computing anything."""

from typing import Any

import torch
from torch import nn

from trainer.models import build

PASSES = 3  # forward, and two as large backward: by inputs and by weights (Kaplan et al. 2020, arXiv:2001.08361)


def training_flops(architecture: dict[str, Any], example: torch.Tensor) -> float:
    """Floating-point operations of one training example; ``example`` is what ``forward`` takes, one row on the meta device.

    Additions and multiplications count as one each; attention's own products, norms and activations are left out.
    """
    with torch.device("meta"):
        model = build(architecture)
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.Linear)
        per_output = module.weight[0].numel()  # of a convolution: channels of a group times kernel
        total += 2 * per_output * output.numel()

    hooks = [module.register_forward_hook(count) for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    model.eval()(example)
    for hook in hooks:
        hook.remove()
    return float(PASSES * total)
