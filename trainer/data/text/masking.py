"""Masked-language modelling's inputs and labels: Devlin et al. 2018 (arXiv:1810.04805), section 3.1."""

from dataclasses import dataclass
from typing import Self

import torch

from core.recipes.masked_language_modeling import Training
from trainer.data.text.augment import Place, Rows
from trainer.data.text.tokenizers import Tokenizer
from trainer.tasks.task import IGNORED, Batch

_CHOICE, _FATE, _TOKEN = range(0x90, 0x93)


@dataclass(frozen=True, slots=True)
class Masking:
    """Of each row ``share`` of the tokens, one at least, are to be told: ``as_mask`` of them are shown as [MASK],
    ``as_random`` as any token.
    """

    share: float
    as_mask: float
    as_random: float
    mask_id: int
    special_ids: tuple[int, ...]
    ordinary: torch.Tensor  # the ids of all other tokens

    @classmethod
    def by(cls, knobs: Training, tokenizer: Tokenizer) -> Self:
        """As the spec says, for the tokens of this tokenizer, which has a [MASK]."""
        assert tokenizer.mask_id is not None
        return cls(
            share=knobs.masked_share,
            as_mask=knobs.mask_token_share,
            as_random=knobs.random_token_share,
            mask_id=tokenizer.mask_id,
            special_ids=tokenizer.special_ids,
            ordinary=ordinary_ids(tokenizer.vocab_size, tokenizer.special_ids),
        )

    def __call__(self, batch: Batch, rows: Rows, place: Place) -> Batch:
        """Adds ``labels`` (N, L), IGNORED where nothing is to be told, and ``where`` (M,), the other places in the flat N * L."""
        ids, length = batch["ids"], batch["ids"].shape[1]
        told = self._choose(batch, place.numbers(rows, length, _CHOICE))
        fate, token = place.numbers(rows, length, _FATE), place.numbers(rows, length, _TOKEN)
        others = self.ordinary[(token.double() * len(self.ordinary)).long()]
        shown = torch.where(told & (fate < self.as_mask), self.mask_id, ids)
        shown = torch.where(told & (fate >= self.as_mask) & (fate < self.as_mask + self.as_random), others, shown)
        labels = torch.where(told, ids, IGNORED)
        return {**batch, "ids": shown, "labels": labels, "where": torch.nonzero(told.flatten()).flatten()}

    def _choose(self, batch: Batch, numbers: torch.Tensor) -> torch.Tensor:
        """Exactly the share of each row, rounded: the losses of batches then differ by their texts alone."""
        free = batch["mask"] & ~torch.isin(batch["ids"], torch.tensor(self.special_ids))
        num_free = free.sum(1, keepdim=True)
        num_told = (num_free * self.share).round().clamp(min=1)
        ranks = torch.where(free, numbers, 2.0).argsort(dim=1, stable=True).argsort(1)
        chosen: torch.Tensor = free & (ranks < num_told)
        return chosen


def ordinary_ids(vocab_size: int, special_ids: tuple[int, ...]) -> torch.Tensor:
    """(V,) those of a vocabulary that are not special."""
    every = torch.arange(vocab_size)
    return every[~torch.isin(every, torch.tensor(special_ids))]
