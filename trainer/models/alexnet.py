"""AlexNet in the shape of Krizhevsky 2014 (arXiv:1404.5997), one column: five convolutions, three linear layers, no normalisation."""

import torch
from torch import nn

from trainer.models.stem import StemKind, initialise

POOLED = {"large": 6, "small": 2}  # side of what the linear layers see


class AlexNet(nn.Module):
    """(N, C, H, W) floats to (N, K) logits. The small stem neither strides nor pools before the second convolution."""

    lora_targets: tuple[str, ...] = ()

    def __init__(self, *, num_channels: int, num_classes: int, hidden: int = 4096, stem: StemKind = "large", dropout: float = 0.5) -> None:
        super().__init__()
        first = (
            nn.Sequential(nn.Conv2d(num_channels, 64, 11, stride=4, padding=2), nn.ReLU(), _pooling(stem))
            if stem == "large"
            else nn.Sequential(nn.Conv2d(num_channels, 64, 3, padding=1), nn.ReLU())
        )
        second = nn.Sequential(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), _pooling(stem))
        third = nn.Sequential(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU())
        fourth = nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU())
        fifth = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), _pooling(stem))
        self.blocks = nn.Sequential(first, second, third, fourth, fifth)
        self.pool = nn.AdaptiveAvgPool2d(POOLED[stem])
        self.hidden = two_hidden_layers(256 * POOLED[stem] ** 2, hidden, dropout)
        self.head = nn.Linear(hidden, num_classes)
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.hidden(self.pool(self.blocks(x)).flatten(1)))
        return logits


def _pooling(stem: StemKind) -> nn.MaxPool2d:
    """The paper's overlapping windows; in small images smaller ones, rounded up so that any size survives."""
    return nn.MaxPool2d(3, stride=2) if stem == "large" else nn.MaxPool2d(2, stride=2, ceil_mode=True)


def two_hidden_layers(num_inputs: int, num_units: int, dropout: float) -> nn.Sequential:
    """What stands between the convolutions and the last layer of the networks of 2012 to 2014."""
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(num_inputs, num_units), nn.ReLU(), nn.Dropout(dropout), nn.Linear(num_units, num_units), nn.ReLU()
    )
