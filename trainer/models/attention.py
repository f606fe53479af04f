"""Attention: Vaswani et al. 2017 (arXiv:1706.03762), by torch's fused kernels.

Shapes: N rows, L tokens, D width, H heads.
"""

import torch
from torch import nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """(N, L, D) to (N, L, D).

    ``qkv`` gives each head's query, key and value side by side: a share of its rows is a share of the heads, and ranks may
    split it (tensor parallelism); the forward pass asks the tensor how many heads it holds.
    """

    def __init__(self, width: int, num_heads: int, dropout: float, *, bias: bool = True) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.head_width, self.dropout = width // num_heads, dropout

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, *, is_causal: bool = False) -> torch.Tensor:
        """``mask`` is true where a token may look, and broadcasts to (N, H, L, L)."""
        num_rows, length, _ = x.shape
        query, key, value = self.qkv(x).view(num_rows, length, -1, 3, self.head_width).transpose(1, 2).unbind(3)  # (N, H, L, D / H)
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=is_causal)
        attended: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(num_rows, length, -1))
        return attended


class FeedForward(nn.Module):
    """(N, L, D) to (N, L, D), by way of ``hidden`` numbers."""

    def __init__(self, width: int, hidden: int, *, bias: bool = True) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = self.down(functional.gelu(self.up(x)))
        return moved


def attend(
    parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor], *, num_heads: int, mask: torch.Tensor | None = None, dropout: float = 0.0
) -> torch.Tensor:
    """Query, key and value, (N, L, D) each from a layer of its own, to what the heads make of them, (N, L, D)."""
    query, key, value = (part.view(*part.shape[:2], num_heads, -1).transpose(1, 2) for part in parts)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout).transpose(1, 2).flatten(2)
