"""The gradient of a model as a whole, wherever its parts lie. Arithmetic is done on each rank's parts, which spares DTensor's
bookkeeping on every operation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from trainer.shards import is_sharded, own_part


@contextmanager
def no_sync(wrapped: nn.Module, *, last: bool) -> Iterator[None]:
    """Around forward and backward of one of a step's micro-batches: ranks exchange gradients after the last only."""
    if isinstance(wrapped, FSDPModule):
        wrapped.set_requires_gradient_sync(last)
    if isinstance(wrapped, DistributedDataParallel) and not last:
        with wrapped.no_sync():
            yield
    else:
        yield


@torch.no_grad()
def gradient_norm(model: nn.Module) -> torch.Tensor:
    """The L2 norm over all parameters of the whole model, the same on every rank. A collective."""
    parts: dict[tuple[Any, ...], list[torch.Tensor]] = {}
    for gradient in _gradients(model):
        parts.setdefault(_split_by(gradient), []).append(own_part(gradient))
    norms = [_over_ranks(get_total_norm(own), groups) for groups, own in parts.items()]
    if len(norms) == 1:
        return norms[0]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


@torch.no_grad()
def clip_gradient(model: nn.Module, max_norm: float, norm: torch.Tensor) -> None:
    """Scales the gradient down to ``max_norm`` when its ``norm`` is greater."""
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in _gradients(model):
        part = own_part(gradient)
        part.mul_(factor.to(part.device))


def _gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def _split_by(gradient: Any) -> tuple[Any, ...]:
    """The process groups over which its elements are spread; none for a plain tensor or one that every rank holds."""
    if not is_sharded(gradient):
        return ()
    mesh = gradient.device_mesh
    return tuple(mesh.get_group(axis) for axis, placement in enumerate(gradient.placements) if not placement.is_replicate())


def _over_ranks(norm: torch.Tensor, groups: tuple[Any, ...]) -> torch.Tensor:
    if not groups:
        return norm
    square = norm.square()
    for group in groups:
        dist.all_reduce(square, group=group)
    return square.sqrt()
