"""A decoder after GPT-2 (Radford et al. 2019): pre-norm blocks, learned positions, GELU, and an output tied to the embeddings.

Shapes: N sequences, T tokens, D width, H heads, V tokens of the vocabulary.
"""

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional

from trainer.models.attention import FeedForward, SelfAttention

if TYPE_CHECKING:
    from torch.distributed.tensor.parallel import ParallelStyle

INITIAL_DEVIATION = 0.02


class Block(nn.Module):
    def __init__(self, width: int, num_heads: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, bias=bias)
        self.attention = SelfAttention(width, num_heads, dropout, bias=bias)
        self.norm2 = nn.LayerNorm(width, bias=bias)
        self.feed_forward = FeedForward(width, 4 * width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), is_causal=True))
        x = x + self.dropout(self.feed_forward(self.norm2(x)))
        return x


class GPT(nn.Module):
    """Token numbers (N, T), T up to ``context``, to logits (N, T, V) of each next token."""

    # The final norm and the embeddings, which are the output layer too.
    head_names: ClassVar[tuple[str, ...]] = ("norm.", "tokens.")
    head_is_pretrained: ClassVar[bool] = True
    lora_targets: ClassVar[tuple[str, ...]] = ("attention.qkv", "attention.out")

    def __init__(
        self, *, vocabulary: int, context: int, num_layers: int, num_heads: int, width: int, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, num_heads, dropout, bias) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width, bias=bias)
        self.apply(_initialise)
        # The residual stream is a sum of 2 num_layers branches: their last layers start smaller, so that it starts with variance 1.
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
                nn.init.normal_(parameter, std=INITIAL_DEVIATION / math.sqrt(2 * num_layers))

    @property
    def context(self) -> int:
        return self.positions.num_embeddings

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.tokens(tokens) + self.positions.weight[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = functional.linear(self.norm(x), self.tokens.weight)
        return logits

    @staticmethod
    def tensor_parallel_plan() -> "dict[str, ParallelStyle]":
        """How ranks share one block, by the names of its parts; the number of heads must divide by the number of ranks."""
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel  # noqa: PLC0415  # why: half a second

        return {
            "attention.qkv": ColwiseParallel(),
            "attention.out": RowwiseParallel(),
            "feed_forward.up": ColwiseParallel(),
            "feed_forward.down": RowwiseParallel(),
        }

    def flops_per_token(self, length: int) -> float:
        """Forward and backward, in sequences of ``length``: 6 per weight that multiplies, and attention's 12 D T a layer
        (PaLM, arXiv:2204.02311, appendix B)."""
        num_weights = sum(parameter.numel() for parameter in self.parameters()) - self.positions.weight.numel()
        return 6.0 * num_weights + 12.0 * len(self.blocks) * self.tokens.embedding_dim * length


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_DEVIATION)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
