"""VGG: Simonyan and Zisserman 2014 (arXiv:1409.1556), configurations A, B, D and E; with batch normalisation where wanted."""

import torch
from torch import nn

from trainer.models.alexnet import two_hidden_layers
from trainer.models.stem import StemKind, convolution, initialise

# Convolutions in each of the five stages; every stage ends in a pooling.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDENING = (1, 2, 4, 8, 8)
POOLED = {"large": 7, "small": 1}  # side of what the linear layers see


class Vgg(nn.Module):
    """(N, C, H, W) floats to (N, K) logits. Poolings round up, so that images of any size survive all five."""

    lora_targets: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        depth: int,
        num_channels: int,
        num_classes: int,
        width: int = 64,
        hidden: int = 4096,
        batch_norm: bool = True,
        stem: StemKind = "large",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        num_in = num_channels
        for num_layers, widening in zip(STAGES[depth], WIDENING, strict=True):
            layers: list[nn.Module] = []
            for _ in range(num_layers):
                layers += _layer(num_in, width * widening, batch_norm)
                num_in = width * widening
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, stride=2, ceil_mode=True)))
        self.blocks = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(POOLED[stem])
        self.hidden = two_hidden_layers(num_in * POOLED[stem] ** 2, hidden, dropout)
        self.head = nn.Linear(hidden, num_classes)
        self.apply(initialise)
        for layer in (self.hidden[1], self.hidden[4], self.head):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.hidden(self.pool(self.blocks(x)).flatten(1)))
        return logits


def _layer(num_in: int, num_out: int, batch_norm: bool) -> tuple[nn.Module, ...]:
    if batch_norm:
        return convolution(num_in, num_out, 3, padding=1)
    return nn.Conv2d(num_in, num_out, 3, padding=1), nn.ReLU()
