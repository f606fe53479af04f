"""A convolutional network for texts: Kim 2014 (arXiv:1408.5882).

Shapes: N texts, L tokens of the longest, E numbers per token, C channels, W kinds of convolutions, K classes.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional


class TextCnn(nn.Module):
    """Token numbers (N, L) and their mask (N, L), false on padding, to (N, K) logits. Padding has no say in them.

    A convolution of any width gives one answer for each token: its window stands around the token, and is zero outside the text.
    ``pooling``: of all answers of a channel the strongest (max, as in the paper), their sum over the square root of how many
    they are (sum: evidence adds up, and a long text is not much louder than a short one), or both.
    """

    head_names: ClassVar[tuple[str, ...]] = ("head.",)
    lora_targets: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        vocab_size: int,
        num_classes: int,
        embedding: int = 128,
        widths: Sequence[int] = (1, 2, 3),
        channels: int = 64,
        pooling: Literal["max", "sum", "both"] = "both",
        dropout: float = 0.5,
        embedding_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, embedding)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, channels, width) for width in widths)
        self.widths = tuple(widths)
        self.dropout = nn.Dropout(dropout)
        self.pooling = pooling
        self.head = nn.Linear(channels * len(widths) * (2 if pooling == "both" else 1), num_classes)
        nn.init.normal_(self.tokens.weight, std=0.1)

    @property
    def blocks(self) -> nn.ModuleList:
        """Input side first; the convolutions stand beside each other."""
        return self.convolutions

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = mask[:, None, :]
        x = self.embedding_dropout(self.tokens(ids)).transpose(1, 2) * kept  # (N, E, L)
        weight = mask.sum(1, keepdim=True).to(x.dtype).rsqrt()
        pooled = []
        for convolution, width in zip(self.convolutions, self.widths, strict=True):
            answers = functional.relu(convolution(functional.pad(x, ((width - 1) // 2, width // 2))))
            answers = answers * kept  # no answer is below 0, so that 0 is no answer
            pooled += [answers.amax(2)] * (self.pooling != "sum") + [answers.sum(2) * weight] * (self.pooling != "max")
        logits: torch.Tensor = self.head(self.dropout(torch.cat(pooled, dim=1)))
        return logits
