"""Residual networks for small images: He et al. 2015 (arXiv:1512.03385), section 4.2, with 6n + 2 weighted layers.

Shapes: N images, C channels, H x W pixels, K classes.
"""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

LARGE_FROM_PIXELS = 64
NUM_STAGES = 3


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut that has no weights (the paper's option A): subsampled, padded with zero channels."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.stride, self.num_new = stride, num_out - num_in

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.num_new:
            x = functional.pad(x, (0, 0, 0, 0, 0, self.num_new))
        return functional.relu(x + y)


class ResNet(nn.Module):
    """(N, C, H, W) floats to (N, K) logits."""

    def __init__(
        self, *, depth: int, width: int, stem: Literal["small", "large"], num_channels: int, num_classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        blocks_per_stage, rest = divmod(depth - 2, 2 * NUM_STAGES)
        if rest or blocks_per_stage < 1:
            raise ValueError(f"depth {depth} is not 6n + 2")
        self.stem = _stem(stem, num_channels, width)
        blocks: list[nn.Module] = []
        num_in = width
        for stage in range(NUM_STAGES):
            for position in range(blocks_per_stage):
                num_out = width * 2**stage
                blocks.append(Block(num_in, num_out, stride=2 if stage > 0 and position == 0 else 1))
                num_in = num_out
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_in, num_classes)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))
        logits: torch.Tensor = self.head(self.dropout(x.mean(dim=(2, 3))))
        return logits


def stem_for(choice: Literal["auto", "small", "large"], height: int, width: int) -> Literal["small", "large"]:
    """``auto`` keeps the resolution of images that have little of it."""
    if choice != "auto":
        return choice
    return "large" if min(height, width) >= LARGE_FROM_PIXELS else "small"


def _stem(kind: Literal["small", "large"], num_channels: int, width: int) -> nn.Sequential:
    if kind == "small":
        return nn.Sequential(nn.Conv2d(num_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    return nn.Sequential(
        nn.Conv2d(num_channels, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _initialise(module: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852). Last scales are not zeroed: with so few blocks that costs five epochs on digits."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
