"""Residual networks: He et al. 2015 (arXiv:1512.03385).

Depths 18 to 152 of section 4.1 have four stages, those of 6n + 2 weighted layers (section 4.2, for small images) three.
Shapes: N images, C channels, H x W pixels, K classes.
"""

import torch
from torch import nn
from torch.nn import functional

from trainer.models.stem import StemKind, first_layers, initialise
from trainer.models.stochastic_depth import StochasticDepth, rates

# Blocks in each of the four stages, and whether they are bottlenecks.
IMAGENET: dict[int, tuple[tuple[int, ...], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
NUM_SMALL_STAGES = 3
WIDENING = 4  # a bottleneck's outputs per inner channel


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut that has no weights (the paper's option A): subsampled, padded with zero channels."""

    def __init__(self, num_in: int, num_out: int, *, stride: int, drop: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.drop = StochasticDepth(drop)
        self.stride, self.num_new = stride, num_out - num_in

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.drop(self.norm2(self.conv2(y)))
        return functional.relu(self.shortcut(x) + y)

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.num_new)) if self.num_new else x


class ProjectedBlock(Block):
    """The same with a 1x1 convolution as the shortcut where shapes differ (option B)."""

    def __init__(self, num_in: int, num_out: int, *, stride: int, drop: float) -> None:
        super().__init__(num_in, num_out, stride=stride, drop=drop)
        self.projection = projection(num_in, num_out, stride)

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.projection(x)
        return projected


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3 (which strides, as everybody's do since), 1x1 to more, around a shortcut with option B."""

    def __init__(self, num_in: int, num_out: int, *, stride: int, drop: float) -> None:
        super().__init__()
        inner = num_out // WIDENING
        self.conv1 = nn.Conv2d(num_in, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, num_out, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(num_out)
        self.drop = StochasticDepth(drop)
        self.projection = projection(num_in, num_out, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        y = self.drop(self.norm3(self.conv3(y)))
        return functional.relu(self.projection(x) + y)


def projection(num_in: int, num_out: int, stride: int) -> nn.Module:
    if stride == 1 and num_in == num_out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride=stride, bias=False), nn.BatchNorm2d(num_out))


class ResNet(nn.Module):
    """(N, C, H, W) floats to (N, K) logits."""

    lora_targets: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        depth: int,
        num_channels: int,
        num_classes: int,
        width: int | None = None,
        stem: StemKind = "small",
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        num_blocks, kind, first, widening = _plan(depth, width)
        drops = iter(rates(stochastic_depth, sum(num_blocks)))
        self.stem = first_layers(stem, num_channels, first)
        blocks: list[nn.Module] = []
        num_in = first
        for stage, num in enumerate(num_blocks):
            for position in range(num):
                num_out = first * 2**stage * widening
                blocks.append(kind(num_in, num_out, stride=2 if stage > 0 and position == 0 else 1, drop=next(drops)))
                num_in = num_out
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_in, num_classes)
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))
        logits: torch.Tensor = self.head(self.dropout(x.mean(dim=(2, 3))))
        return logits


def _plan(depth: int, width: int | None) -> tuple[tuple[int, ...], type[Block] | type[Bottleneck], int, int]:
    """Blocks of each stage, their class, channels of the first stage, and how much wider a block's output is than its stage."""
    if depth in IMAGENET:
        num_blocks, is_deep = IMAGENET[depth]
        return num_blocks, Bottleneck if is_deep else ProjectedBlock, width or 64, WIDENING if is_deep else 1
    per_stage, rest = divmod(depth - 2, 2 * NUM_SMALL_STAGES)
    if rest or per_stage < 1:
        raise ValueError(f"depth {depth} is neither one of {', '.join(map(str, IMAGENET))} nor 6n + 2")
    return (per_stage,) * NUM_SMALL_STAGES, Block, width or 16, 1
