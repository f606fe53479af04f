"""A multilayer perceptron on numbers and embedded categories."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from trainer.models.tabular.embedding import CategoryEmbedding, Periodic, PiecewiseLinear, embedding_width


class TabularMlp(nn.Module):
    """(N, F) numbers and (N, C) categories to (N, K). ``edges`` are the bins of piecewise-linear embeddings, (F, B + 1)."""

    head_names = ("head",)
    lora_targets: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        num_numbers: int,
        cardinalities: Sequence[int],
        num_outputs: int,
        width: int,
        depth: int,
        dropout: float = 0.0,
        numeric_embedding: Literal["none", "piecewise-linear", "periodic"] = "none",
        numeric_bins: int = 16,
        numeric_width: int = 16,
        edges: Sequence[Sequence[float]] = (),
    ) -> None:
        super().__init__()
        self.numbers: nn.Module = nn.Identity()
        if numeric_embedding == "piecewise-linear" and num_numbers:
            self.numbers = PiecewiseLinear(edges, numeric_width)
        elif numeric_embedding == "periodic" and num_numbers:
            self.numbers = Periodic(num_numbers, numeric_bins, numeric_width)
        self.categories = CategoryEmbedding(cardinalities, [embedding_width(rows) for rows in cardinalities])
        num_in = num_numbers * (1 if isinstance(self.numbers, nn.Identity) else numeric_width) + self.categories.width
        widths = [num_in, *[width] * depth]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)) for before, after in pairwise(widths)
        )
        self.head = nn.Linear(width, num_outputs)

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.numbers(numbers), self.categories(categories)], dim=1)
        for block in self.blocks:
            x = block(x)
        outputs: torch.Tensor = self.head(x)
        return outputs
