"""Vision transformer: Dosovitskiy et al. 2020 (arXiv:2010.11929). Depth 12, width 768, 12 heads and patch 16 make ViT-B/16.

Shapes: N images, C channels, H x W pixels, T tokens, D width, K classes.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from trainer.models.attention import attend
from trainer.models.stochastic_depth import StochasticDepth, rates

WIDENING = 4  # hidden units of the linear layers per width
MIN_TOKENS_PER_SIDE = 7
MAX_PATCH = 16


def patch_for(height: int, width: int) -> int:
    """The largest divisor of both sides, 16 at most, that leaves seven tokens a side or more; 1 where there is none."""
    longest = min(height, width) // MIN_TOKENS_PER_SIDE
    return max((patch for patch in range(1, min(longest, MAX_PATCH) + 1) if height % patch == width % patch == 0), default=1)


class Attention(nn.Module):
    """Multi-head self-attention, (N, T, D) to the same."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = (self.query(x), self.key(x), self.value(x))
        out: torch.Tensor = self.output(attend(parts, num_heads=self.num_heads, dropout=self.dropout if self.training else 0.0))
        return out


class Block(nn.Module):
    """Attention and two linear layers, each behind a layer norm and beside a shortcut; (N, T, D) to the same."""

    def __init__(self, width: int, num_heads: int, *, dropout: float, drop: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, num_heads, dropout)
        hidden = WIDENING * width
        self.linear = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.dropout, self.drop = nn.Dropout(dropout), StochasticDepth(drop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.drop(self.dropout(self.attention(self.norm1(x))))
        out: torch.Tensor = x + self.drop(self.dropout(self.linear(self.norm2(x))))
        return out


class VisionTransformer(nn.Module):
    """(N, C, H, W) floats to (N, K) logits. Of images of another size the positions are interpolated, as in the paper's section 3.2."""

    lora_targets = ("query", "key", "value", "output")

    def __init__(
        self,
        *,
        image_size: Sequence[int],
        patch: int,
        depth: int,
        width: int,
        heads: int,
        num_channels: int,
        num_classes: int,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        height, wide = image_size
        if height % patch or wide % patch:
            raise ValueError(f"patches of {patch} x {patch} pixels do not tile images of {height} x {wide}")
        self.patch, self.grid = patch, (height // patch, wide // patch)
        self.embedding = nn.Conv2d(num_channels, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], width).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout=dropout, drop=drop) for drop in rates(stochastic_depth, depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        self.apply(_initialise)
        fan_in = num_channels * patch * patch
        nn.init.trunc_normal_(self.embedding.weight, std=math.sqrt(1 / fan_in))
        nn.init.zeros_(self.head.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embedding(x)
        positions = self._positions_for(tokens.shape[2], tokens.shape[3])
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), tokens.flatten(2).transpose(1, 2)], dim=1)
        tokens = self.blocks(self.dropout(tokens + positions))
        logits: torch.Tensor = self.head(self.norm(tokens)[:, 0])
        return logits

    def _positions_for(self, height: int, width: int) -> torch.Tensor:
        """(1, 1 + height * width, D)."""
        if (height, width) == self.grid:
            return self.positions
        first, rest = self.positions[:, :1], self.positions[:, 1:]
        planes = rest.transpose(1, 2).reshape(1, -1, *self.grid)
        resized = functional.interpolate(planes, size=(height, width), mode="bicubic", align_corners=False)
        return torch.cat([first, resized.flatten(2).transpose(1, 2)], dim=1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
