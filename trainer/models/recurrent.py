"""Recurrent networks for texts: long short-term memory (Hochreiter and Schmidhuber 1997), gated units (Cho 2014, arXiv:1406.1078).

Shapes: N texts, L tokens of the longest, E numbers per token, D units, K classes.
"""

from typing import ClassVar, Literal

import torch
from torch import nn

from trainer.models.encoder import pool

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Layer(nn.Module):
    """(N, L, E) to (N, L, D), or to (N, L, 2 D) where a second network reads each text from its own end.

    Texts are turned round within their lengths instead of being packed: nothing has to be sorted, no length leaves the
    device, and padding, which comes last either way, cannot reach a token.
    """

    def __init__(self, cell: Literal["lstm", "gru"], num_in: int, width: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.ahead = CELLS[cell](num_in, width, batch_first=True)
        self.back = CELLS[cell](num_in, width, batch_first=True) if bidirectional else None

    def forward(self, x: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
        """``turned`` (N, L): where each place of a text lies when the text is read backwards."""
        forwards: torch.Tensor = self.ahead(x)[0]
        if self.back is None:
            return forwards
        backwards = self.back(_taken(x, turned))[0]
        return torch.cat([forwards, _taken(backwards, turned)], dim=2)


class RecurrentClassifier(nn.Module):
    """Token numbers (N, L) and their mask (N, L), false on padding, to (N, K) logits. Padding has no say in them."""

    head_names: ClassVar[tuple[str, ...]] = ("head.",)
    lora_targets: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        cell: Literal["lstm", "gru"],
        vocab_size: int,
        num_classes: int,
        embedding: int = 128,
        width: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        pooling: Literal["max", "mean", "last"] = "max",
        dropout: float = 0.5,
        embedding_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        num_out = width * (2 if bidirectional else 1)
        self.tokens = nn.Embedding(vocab_size, embedding)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        sizes = [embedding, *[num_out] * (num_layers - 1)]
        self.blocks = nn.ModuleList(Layer(cell, size, width, bidirectional=bidirectional) for size in sizes)
        self.dropout = nn.Dropout(dropout)
        self.pooling, self.bidirectional = pooling, bidirectional
        self.head = nn.Linear(num_out, num_classes)
        nn.init.normal_(self.tokens.weight, std=0.1)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        lengths = mask.sum(1, keepdim=True)
        places = torch.arange(ids.shape[1], device=ids.device)
        turned = torch.where(mask, lengths - 1 - places, places)
        x = self.embedding_dropout(self.tokens(ids))
        for number, block in enumerate(self.blocks):
            x = block(self.dropout(x) if number else x, turned)
        logits: torch.Tensor = self.head(self.dropout(self._pooled(x, mask, lengths)))
        return logits

    def _pooled(self, x: torch.Tensor, mask: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if self.pooling != "last":
            return pool(x, mask, self.pooling)
        last = _taken(x, lengths - 1)[:, 0]
        if not self.bidirectional:
            return last
        width = x.shape[2] // 2
        return torch.cat([last[:, :width], x[:, 0, width:]], dim=1)


def _taken(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Of each row of (N, L, D), the places (N, M)."""
    return x.gather(1, places[:, :, None].expand(-1, -1, x.shape[2]))
