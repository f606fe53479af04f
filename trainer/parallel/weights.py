"""A model's weights as one plain state dict, wherever its parts lie."""

from typing import Any

import torch
from torch import nn

from trainer.shards import is_sharded


@torch.no_grad()
def full_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, whole and on the CPU, on every rank. A collective. Not copies where nothing had to be moved."""
    return {name: _whole(tensor) for name, tensor in model.state_dict().items()}


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    if not is_sharded(tensor):
        return tensor.detach().to("cpu")
    sharded: Any = tensor
    whole: torch.Tensor = sharded.to(sharded.device_mesh.device_type).full_tensor()  # offloaded parts come back for it
    return whole.to("cpu")
