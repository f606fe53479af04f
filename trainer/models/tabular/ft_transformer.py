"""FT-Transformer: a token for each column, attention among them. Gorishniy et al. 2021 (arXiv:2106.11959), section 3.3.

Shapes: N rows, T tokens (a class token first, then numbers, then categories), W width.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from trainer.models.attention import attend

FEED_FORWARD = 4 / 3  # inner width, as in the paper for ReGLU


class FeatureTokenizer(nn.Module):
    """(N, F) and (N, C) to (N, 1 + F + C, W): x_j * W_j + b_j for a number, e_j[x_j] + b_j for a category."""

    def __init__(self, num_numbers: int, cardinalities: Sequence[int], width: int) -> None:
        super().__init__()
        reach = 1 / math.sqrt(width)
        self.class_token = nn.Parameter(torch.empty(1, 1, width).uniform_(-reach, reach))
        self.weight = nn.Parameter(torch.empty(num_numbers, width).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(num_numbers + len(cardinalities), width).uniform_(-reach, reach))
        self.tables = nn.ModuleList(nn.Embedding(rows, width, padding_idx=0) for rows in cardinalities)
        for table in self.tables:
            assert isinstance(table, nn.Embedding)
            nn.init.uniform_(table.weight[1:], -reach, reach)  # row 0, the unknown category, stays 0

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        tokens = [numbers.unsqueeze(2) * self.weight]
        tokens += [table(categories[:, column]).unsqueeze(1) for column, table in enumerate(self.tables)]
        features = torch.cat(tokens, dim=1) + self.bias
        return torch.cat([self.class_token.expand(numbers.shape[0], -1, -1), features], dim=1)


class Block(nn.Module):
    """Pre-norm attention and a ReGLU feed-forward layer. The first block of the paper has no norm before its attention."""

    def __init__(
        self, width: int, heads: int, *, is_first: bool, dropout: float, attention_dropout: float, residual_dropout: float
    ) -> None:
        super().__init__()
        inner = int(width * FEED_FORWARD)
        self.heads, self.attention_dropout = heads, attention_dropout
        self.attention_norm = nn.Identity() if is_first else nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * inner)
        self.contract = nn.Linear(inner, width)
        self.dropout, self.residual_dropout = nn.Dropout(dropout), nn.Dropout(residual_dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.residual_dropout(self._attend(self.attention_norm(x)))
        gate, value = self.expand(self.norm(x)).chunk(2, dim=2)
        hidden: torch.Tensor = self.contract(self.dropout(functional.relu(gate) * value))
        x = x + self.residual_dropout(hidden)
        return x

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        parts = (self.query(x), self.key(x), self.value(x))
        attended: torch.Tensor = self.out(attend(parts, num_heads=self.heads, dropout=self.attention_dropout if self.training else 0.0))
        return attended


class FTTransformer(nn.Module):
    """(N, F) numbers and (N, C) categories to (N, K), read off the class token."""

    head_names = ("head",)
    lora_targets = ("query", "key", "value", "out")

    def __init__(
        self,
        *,
        num_numbers: int,
        cardinalities: Sequence[int],
        num_outputs: int,
        width: int,
        depth: int,
        heads: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        residual_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        rates = {"dropout": dropout, "attention_dropout": attention_dropout, "residual_dropout": residual_dropout}
        self.tokenizer = FeatureTokenizer(num_numbers, cardinalities, width)
        self.blocks = nn.ModuleList(Block(width, heads, is_first=position == 0, **rates) for position in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, num_outputs))

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        x = self.tokenizer(numbers, categories)
        for block in self.blocks:
            x = block(x)
        outputs: torch.Tensor = self.head(x[:, 0])
        return outputs
