"""Numbers and categories as vectors. Numeric embeddings after Gorishniy et al. 2022 (arXiv:2203.05556).

Shapes: N rows, F numbers, C categories, W width of an embedded number, B bins.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn


class CategoryEmbedding(nn.Module):
    """(N, C) category numbers to (N, sum of widths). Number 0 stands for what training never saw: its vector stays 0."""

    def __init__(self, cardinalities: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width, padding_idx=0) for rows, width in zip(cardinalities, widths, strict=True))
        self.width = sum(widths)

    def forward(self, categories: torch.Tensor) -> torch.Tensor:
        if not len(self.tables):
            return categories.new_zeros((categories.shape[0], 0), dtype=torch.float32)
        return torch.cat([table(categories[:, column]) for column, table in enumerate(self.tables)], dim=1)


def embedding_width(cardinality: int) -> int:
    """A rule of thumb that has held up: 1.6 * cardinality ** 0.56, 50 at most."""
    return min(50, math.ceil(1.6 * math.pow(cardinality, 0.56)))


class PiecewiseLinear(nn.Module):
    """(N, F) to (N, F * W): how far a number has come through each bin, 0 to 1, then a linear layer per column with ReLU.

    The first and the last bin have no outer edge. Section 3.2 of the paper. ``edges``: (F, B + 1), ascending; equal edges
    are bins that nothing fills.
    """

    edges: torch.Tensor

    def __init__(self, edges: Sequence[Sequence[float]], width: int) -> None:
        super().__init__()
        self.register_buffer("edges", torch.tensor(edges, dtype=torch.float32))
        num_bins = self.edges.shape[1] - 1
        self.weight = nn.Parameter(torch.randn(len(edges), num_bins, width) / math.sqrt(num_bins))
        self.bias = nn.Parameter(torch.zeros(len(edges), width))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        embedded = torch.einsum("nfb,fbw->nfw", self.encode(numbers), self.weight) + self.bias
        return torch.relu(embedded).flatten(1)

    def encode(self, numbers: torch.Tensor) -> torch.Tensor:
        """(N, F, B)."""
        low, high = self.edges[:, :-1], self.edges[:, 1:]
        width = high - low
        empty = width <= 0
        come = (numbers.unsqueeze(2) - low) / torch.where(empty, torch.ones_like(width), width)
        come = torch.where(empty, (numbers.unsqueeze(2) >= high).to(come.dtype), come)
        last = come.shape[2] - 1
        bins = torch.arange(last + 1, device=numbers.device)
        lower = torch.where(bins == 0, come, come.clamp(min=0.0))
        return torch.where((bins == last) | empty, lower, lower.clamp(max=1.0)) if last else come


class Periodic(nn.Module):
    """(N, F) to (N, F * W): sines and cosines with learned frequencies, then a linear layer per column with ReLU. Section 3.3."""

    def __init__(self, num_numbers: int, num_frequencies: int, width: int, deviation: float = 0.1) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(num_numbers, num_frequencies) * deviation)
        self.weight = nn.Parameter(torch.randn(num_numbers, 2 * num_frequencies, width) / math.sqrt(2 * num_frequencies))
        self.bias = nn.Parameter(torch.zeros(num_numbers, width))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        angles = 2 * math.pi * self.frequencies * numbers.unsqueeze(2)
        waves = torch.cat([angles.cos(), angles.sin()], dim=2)
        return torch.relu(torch.einsum("nfb,fbw->nfw", waves, self.weight) + self.bias).flatten(1)
