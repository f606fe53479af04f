"""What training texts are put through: tokens left out, exchanged or masked, drawn from (seed, epoch, step, row) alone.

Batches are (N, L) ids with a mask that is false on padding. Special tokens stay where they are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trainer.data.augment import draws

Rows = npt.NDArray[np.int64]
Batch = dict[str, torch.Tensor]
MEAN_SPAN = 3.0  # tokens; Joshi et al. 2019 (arXiv:1907.10529) have 3.8 of a geometric distribution cut at 10
_DROP, _SWAP, _SPAN, _LENGTH = range(0x7E, 0x82)


@dataclass(frozen=True, slots=True)
class Place:
    """Of the run: what the draws of a batch are made of, beside its rows."""

    seed: int
    epoch: int
    step: int

    def numbers(self, rows: Rows, length: int, stream: int) -> torch.Tensor:
        """(N, L) numbers from 0 to 1, 1 excluded, that depend on nothing but the place, the row, its position and ``stream``."""
        words = draws(rows, seed=self.seed, epoch=self.epoch, step=self.step, stream=stream)
        spread = draws((words[:, None] + np.arange(length, dtype=np.uint64)).astype(np.int64), seed=self.seed, epoch=self.epoch)
        return torch.from_numpy((spread >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24))


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Shares of tokens that are left out or change places (Wei and Zou 2019, arXiv:1901.11196), or are masked in spans."""

    dropout: float
    swap: float
    spans: float
    special_ids: tuple[int, ...]
    pad_id: int
    mask_id: int

    def __call__(self, batch: Batch, rows: Rows, place: Place) -> Batch:
        if self.swap:
            batch = self._exchange(batch, place.numbers(rows, batch["ids"].shape[1], _SWAP))
        if self.spans:
            batch = self._mask_spans(batch, rows, place)
        if self.dropout:
            batch = self._leave_out(batch, place.numbers(rows, batch["ids"].shape[1], _DROP))
        return batch

    def free(self, batch: Batch) -> torch.Tensor:
        """(N, L): neither padding nor special."""
        return batch["mask"] & ~torch.isin(batch["ids"], torch.tensor(self.special_ids))

    def _exchange(self, batch: Batch, numbers: torch.Tensor) -> Batch:
        """The chosen tokens of a row stand in a random order afterwards, in the places that they had together."""
        ids, chosen = batch["ids"], self.free(batch) & (numbers < self.swap)
        if "types" in batch:
            chosen &= batch["types"] == 0  # tokens do not pass into the other text
        places = torch.arange(ids.shape[1])
        by_place = torch.where(chosen, places, ids.shape[1] + places).argsort(1)
        by_chance = torch.where(chosen, numbers, 1 + places).argsort(1)
        return {**batch, "ids": ids.scatter(1, by_place, ids.gather(1, by_chance))}

    def _mask_spans(self, batch: Batch, rows: Rows, place: Place) -> Batch:
        """Spans begin so often that, with their mean length, the wanted share is covered (where they do not overlap)."""
        free, length = self.free(batch), batch["ids"].shape[1]
        begins = free & (place.numbers(rows, length, _SPAN) < self.spans / MEAN_SPAN)
        uniform = place.numbers(rows, length, _LENGTH).clamp(min=1e-7)
        spans = (uniform.log() / np.log(1 - 1 / MEAN_SPAN)).floor() + 1  # geometric
        ends = torch.where(begins, torch.arange(length) + spans, torch.zeros(()))
        covered = free & (torch.arange(length) < ends.cummax(1).values)
        return {**batch, "ids": batch["ids"].masked_fill(covered, self.mask_id)}

    def _leave_out(self, batch: Batch, numbers: torch.Tensor) -> Batch:
        """What is kept moves to the front. One token of a row stays, whatever was drawn: the one with the largest number."""
        free = self.free(batch)
        largest = torch.where(free, numbers, -1.0).argmax(1, keepdim=True)
        gone = free & (numbers < self.dropout)
        gone.scatter_(1, largest, torch.zeros_like(largest, dtype=torch.bool))
        kept = batch["mask"] & ~gone
        order = (~kept).to(torch.int8).argsort(dim=1, stable=True)
        moved = {name: tensor.gather(1, order) for name, tensor in batch.items()}
        mask = torch.arange(kept.shape[1]) < kept.sum(1, keepdim=True)
        return {**moved, "ids": moved["ids"].masked_fill(~mask, self.pad_id), "mask": mask}
