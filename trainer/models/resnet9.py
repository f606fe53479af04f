"""A residual network of nine weighted layers for small images, after Page 2018 ("How to train your ResNet", DAWNBench).

It pools early and widens at every pooling, so that most of its weights look at few pixels: for the same arithmetic it has several
times the weights of a network of section 4.2 of He et al., and learns faster from few images.
Shapes: N images, C channels, H x W pixels, K classes.
"""

import torch
from torch import nn

from trainer.models.stem import convolution, initialise

LOGIT_SCALE = 0.125  # Page's; without it the first steps at a large rate are too sure of themselves


class Residual(nn.Module):
    """Two 3x3 convolutions, each with its ReLU, added to what came in."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(*convolution(num, num, 3, padding=1), *convolution(num, num, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.branch(x)
        return y


class ResNet9(nn.Module):
    """(N, C, H, W) floats to (N, K) logits. Poolings round up, so that images of any size survive all three."""

    lora_targets: tuple[str, ...] = ()

    def __init__(self, *, num_channels: int, num_classes: int, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(num_channels, width, 3, padding=1))
        self.blocks = nn.Sequential(
            *_pooled(width, 2 * width),
            Residual(2 * width),
            *_pooled(2 * width, 4 * width),
            *_pooled(4 * width, 8 * width),
            Residual(8 * width),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8 * width, num_classes, bias=False)
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x)).amax(dim=(2, 3))
        logits: torch.Tensor = self.head(self.dropout(x)) * LOGIT_SCALE
        return logits


def _pooled(num_in: int, num_out: int) -> tuple[nn.Module, ...]:
    return *convolution(num_in, num_out, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True)
