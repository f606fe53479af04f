"""A tensor as this rank holds it. FSDP and tensor parallelism keep parameters as DTensors: each rank has a part. Arithmetic that
looks at one element at a time may work on the parts alone, which saves DTensor's bookkeeping on every operation."""

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch.distributed.tensor import DTensor, distribute_tensor


def is_sharded(tensor: torch.Tensor) -> TypeGuard[DTensor]:
    return isinstance(tensor, DTensor)


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """What lies on this rank: of a DTensor a part, of any other tensor all. It shares the memory; call it under ``no_grad``."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def own_parts(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [own_part(tensor) for tensor in tensors]


def own_gradient(parameter: torch.Tensor) -> torch.Tensor:
    """This rank's part of the gradient, cut as the parameter is. A collective where tensor parallelism left partial sums."""
    gradient = parameter.grad
    assert gradient is not None
    if is_sharded(parameter) and is_sharded(gradient) and gradient.placements != parameter.placements:
        gradient = gradient.redistribute(placements=parameter.placements)
    return own_part(gradient)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor on every rank; a collective for DTensors."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def laid_out_like(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A copy of ``tensor`` with the device, the memory layout and the placements of ``like``; both have one shape over all ranks.

    Layout matters: elementwise arithmetic on tensors of two layouts may round differently from that on tensors of one.
    """
    if is_sharded(like) and not is_sharded(tensor):
        # With src_data_rank None nothing is sent: each rank cuts its part from the tensor that all of them have.
        tensor = distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    copy = torch.empty_like(like)
    own_part(copy).copy_(own_part(tensor))
    return copy
