"""GoogLeNet: Szegedy et al. 2014 (arXiv:1409.4842), with batch normalisation, which does what its auxiliary heads were for."""

from typing import NamedTuple

import torch
from torch import nn

from trainer.models.stem import StemKind, convolution, initialise


class Widths(NamedTuple):
    """Output channels of a block's branches, as in the paper's table 1."""

    one: int
    reduce_three: int
    three: int
    reduce_five: int
    five: int
    pool: int

    @property
    def total(self) -> int:
        return self.one + self.three + self.five + self.pool


BLOCKS = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
POOLED_BEFORE = ("4a", "5a")


class Inception(nn.Module):
    """Convolutions of three sizes and a pooling side by side; (N, C, H, W) to (N, widths.total, H, W)."""

    def __init__(self, num_in: int, widths: Widths, *, pool_first: bool) -> None:
        super().__init__()
        self.shrink = nn.MaxPool2d(3, stride=2, ceil_mode=True) if pool_first else nn.Identity()
        self.one = nn.Sequential(*convolution(num_in, widths.one, 1))
        self.three = nn.Sequential(
            *convolution(num_in, widths.reduce_three, 1), *convolution(widths.reduce_three, widths.three, 3, padding=1)
        )
        self.five = nn.Sequential(*convolution(num_in, widths.reduce_five, 1), *convolution(widths.reduce_five, widths.five, 5, padding=2))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *convolution(num_in, widths.pool, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shrink(x)
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


class GoogLeNet(nn.Module):
    """(N, C, H, W) floats to (N, K) logits. The small stem keeps the resolution, where the paper's divides it by 8."""

    lora_targets: tuple[str, ...] = ()

    def __init__(self, *, num_channels: int, num_classes: int, stem: StemKind = "large", dropout: float = 0.4) -> None:
        super().__init__()
        self.stem = _stem(stem, num_channels)
        blocks: list[nn.Module] = []
        num_in = 192
        for name, widths in BLOCKS.items():
            blocks.append(Inception(num_in, widths, pool_first=name in POOLED_BEFORE))
            num_in = widths.total
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_in, num_classes)
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))
        logits: torch.Tensor = self.head(self.dropout(x.mean(dim=(2, 3))))
        return logits


def _stem(kind: StemKind, num_channels: int) -> nn.Sequential:
    if kind == "small":
        return nn.Sequential(*convolution(num_channels, 192, 3, padding=1))
    return nn.Sequential(
        *convolution(num_channels, 64, 7, stride=2, padding=3),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        *convolution(64, 64, 1),
        *convolution(64, 192, 3, padding=1),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
    )
