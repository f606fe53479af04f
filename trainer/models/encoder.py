"""A bidirectional Transformer encoder after BERT (Devlin et al. 2018, arXiv:1810.04805), and the models that end in a head of their own.

Shapes: N texts, L tokens of the longest, D width, H heads, V tokens of the vocabulary, K classes. Its parameters are called
``encoder.`` in all of them, so that what masked-language modelling has learned starts a classifier or a tagger.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from trainer.models.attention import FeedForward, SelfAttention
from trainer.models.stochastic_depth import StochasticDepth, rates

if TYPE_CHECKING:
    from torch.distributed.tensor.parallel import ParallelStyle

INITIAL_DEVIATION = 0.02
NUM_TYPES = 2  # the first text of a pair, and the second


class Block(nn.Module):
    """Norms before the two branches (pre) or after their sums (post, as BERT has them)."""

    def __init__(self, *, width: int, hidden: int, num_heads: int, dropout: float, drop_path: float, norm: Literal["pre", "post"]) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, num_heads, dropout)
        self.feed_forward = FeedForward(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = StochasticDepth(drop_path)
        self.is_pre = norm == "pre"

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.is_pre:
            x = x + self._branch(self.attention(self.norm1(x), mask))
            return x + self._branch(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + self._branch(self.attention(x, mask)))
        normed: torch.Tensor = self.norm2(x + self._branch(self.feed_forward(x)))
        return normed

    def _branch(self, x: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = self.drop_path(self.dropout(x))
        return kept


class Encoder(nn.Module):
    """Token numbers (N, L), L up to ``max_length``, to (N, L, D). ``mask`` (N, L) is true on tokens and false on padding."""

    def __init__(
        self,
        *,
        vocab_size: int,
        max_length: int,
        width: int = 256,
        num_layers: int = 4,
        num_heads: int = 4,
        hidden: int | None = None,
        dropout: float = 0.1,
        drop_path: float = 0.0,
        norm: Literal["pre", "post"] = "pre",
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(max_length, width)
        self.types = nn.Embedding(NUM_TYPES, width)
        self.norm_in = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        knobs: dict[str, Any] = {"width": width, "hidden": hidden or 4 * width, "num_heads": num_heads, "dropout": dropout, "norm": norm}
        self.blocks = nn.ModuleList(Block(**knobs, drop_path=rate) for rate in rates(drop_path, num_layers))
        self.norm_out = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.apply(initialise)

    @property
    def width(self) -> int:
        return self.tokens.embedding_dim

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        x = x + (self.types.weight[0] if types is None else self.types(types))
        x = self.dropout(self.norm_in(x))
        attended = mask[:, None, None, :]
        for block in self.blocks:
            x = block(x, attended)
        encoded: torch.Tensor = self.norm_out(x)
        return encoded


class EncoderModel(nn.Module):
    """What the models below share. Their other arguments are the encoder's, as ``Encoder`` names them."""

    head_names: ClassVar[tuple[str, ...]] = ("head.",)
    lora_targets: ClassVar[tuple[str, ...]] = ("attention.qkv", "attention.out")

    def __init__(self, encoder: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(**encoder)

    @property
    def blocks(self) -> nn.ModuleList:
        return self.encoder.blocks

    @property
    def num_heads(self) -> int:
        return self.encoder.num_heads

    @staticmethod
    def tensor_parallel_plan() -> "dict[str, ParallelStyle]":
        """How ranks share one block, by the names of its parts; the number of heads must divide by the number of ranks."""
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel  # noqa: PLC0415  # why: 0.6 s that few runs need

        return {
            "attention.qkv": ColwiseParallel(),
            "attention.out": RowwiseParallel(),
            "feed_forward.up": ColwiseParallel(),
            "feed_forward.down": RowwiseParallel(),
        }

    def flops_per_token(self, length: int) -> float:
        """Forward and backward: 6 per weight that multiplies, and attention's 12 D L a layer (PaLM, arXiv:2204.02311, appendix B)."""
        num_weights = sum(parameter.numel() for parameter in self.blocks.parameters())
        return 6.0 * num_weights + 12.0 * len(self.blocks) * self.encoder.width * length


class EncoderClassifier(EncoderModel):
    """(N, L) ids to (N, K) logits. ``pooling``: of the first token, as BERT does; or the mean or maximum over all tokens."""

    def __init__(
        self, *, num_classes: int, pooling: Literal["first", "mean", "max"] = "first", head_dropout: float = 0.1, **encoder: Any
    ) -> None:
        super().__init__(encoder)
        self.pooling = pooling
        width = self.encoder.width
        self.head = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Dropout(head_dropout), nn.Linear(width, num_classes))
        self.head.apply(initialise)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        logits: torch.Tensor = self.head(pool(self.encoder(ids, mask, types), mask, self.pooling))
        return logits


class EncoderTagger(EncoderModel):
    """(N, L) ids to (N, L, K) logits, one class for each token."""

    def __init__(self, *, num_classes: int, head_dropout: float = 0.1, **encoder: Any) -> None:
        super().__init__(encoder)
        self.head = nn.Sequential(nn.Dropout(head_dropout), nn.Linear(self.encoder.width, num_classes))
        self.head.apply(initialise)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.encoder(ids, mask, types))
        return logits


class MaskedHead(nn.Module):
    """(..., D) to (..., V) logits through the embeddings that it is handed (Press & Wolf 2017, arXiv:1608.05859)."""

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.norm(functional.gelu(self.dense(x))), embeddings, self.bias)


class EncoderMaskedLM(EncoderModel):
    """(N, L) ids to logits of what stands at each place: (N, L, V), or (M, V) for M places ``where``, counted in the flat N * L."""

    def __init__(self, **encoder: Any) -> None:
        super().__init__(encoder)
        self.head = MaskedHead(self.encoder.width, self.encoder.tokens.num_embeddings)
        self.head.apply(initialise)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None, where: torch.Tensor | None = None
    ) -> torch.Tensor:
        x = self.encoder(ids, mask, types)
        if where is not None:
            x = x.flatten(0, 1)[where]
        logits: torch.Tensor = self.head(x, self.encoder.tokens.weight)
        return logits


def pool(x: torch.Tensor, mask: torch.Tensor, how: Literal["first", "mean", "max"]) -> torch.Tensor:
    """(N, L, D) and a mask (N, L), true on at least one token of each row, to (N, D). Padding has no say."""
    if how == "first":
        return x[:, 0]
    kept = mask[:, :, None]
    if how == "max":
        return x.masked_fill(~kept, float("-inf")).amax(1)
    return (x * kept).sum(1) / kept.sum(1)


def initialise(module: nn.Module) -> None:
    """As BERT: weights from a normal distribution of deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_DEVIATION)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
