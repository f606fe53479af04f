"""Activation checkpointing: a block forgets its activations and computes them again in the backward pass (Chen et al. 2016,
arXiv:1604.06174)."""

from types import MethodType
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(block: nn.Module) -> None:
    """From now on ``block`` keeps its inputs only. The names of its parameters stay as they are, and copies of it recompute too."""
    block.forward = MethodType(_forward, block)


def _forward(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
    if not block.training:
        return type(block).forward(block, *args, **kwargs)
    return checkpoint(type(block).forward, block, *args, use_reentrant=False, **kwargs)
