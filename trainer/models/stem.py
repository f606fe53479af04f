"""How a network for images begins, which decides how much resolution the rest of it sees."""

from typing import Literal

from torch import nn

LARGE_FROM_PIXELS = 64
StemKind = Literal["small", "large"]


def stem_for(choice: Literal["auto", "small", "large"], height: int, width: int) -> StemKind:
    """``auto`` keeps the resolution of images that have little of it."""
    if choice != "auto":
        return choice
    return "large" if min(height, width) >= LARGE_FROM_PIXELS else "small"


def first_layers(kind: StemKind, num_channels: int, width: int) -> nn.Sequential:
    """(N, C, H, W) to (N, width, H, W), or with ``large`` to a quarter of each side."""
    if kind == "small":
        return nn.Sequential(*convolution(num_channels, width, 3, padding=1))
    return nn.Sequential(*convolution(num_channels, width, 7, stride=2, padding=3), nn.MaxPool2d(3, stride=2, padding=1))


def convolution(num_in: int, num_out: int, size: int, *, stride: int = 1, padding: int = 0) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A convolution with batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167), which makes its bias needless, and a ReLU."""
    layer = nn.Conv2d(num_in, num_out, size, stride=stride, padding=padding, bias=False)
    return layer, nn.BatchNorm2d(num_out), nn.ReLU()


def initialise(module: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852). Last scales are not zeroed: with few blocks that costs five epochs on digits."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
