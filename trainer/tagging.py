"""From what a tagger says of a batch to its loss and to tags, with a CRF or without, word by word or token by token."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from trainer.data.words import Batch, places_of
from trainer.models.crf import best_tags, bio_steps, log_likelihood
from trainer.tasks.task import IGNORED

INPUTS = ("words", "letters", "ids", "mask")


@dataclass(frozen=True, slots=True)
class Said:
    """``emissions`` (N, W, K) in float32; ``steps`` (K + 2, K) of a model with a CRF; ``mask`` (N, W), true on words."""

    emissions: torch.Tensor
    steps: torch.Tensor | None
    mask: torch.Tensor

    def loss(self, labels: torch.Tensor) -> torch.Tensor:
        """The sum over the words that ``labels`` (N, W) tag; IGNORED elsewhere."""
        if self.steps is None:
            return functional.cross_entropy(self.emissions.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        has_words = (labels != IGNORED).any(1)
        found = log_likelihood(self.emissions, self.steps, labels, self.mask)
        return -(found * has_words).sum()

    def tags(self) -> torch.Tensor:
        """(N, W): the likeliest sequences in which no I- tag continues nothing."""
        num_types = self.emissions.shape[2] // 2
        steps = bio_steps(num_types).to(self.emissions.device) if self.steps is None else self.steps
        return best_tags(self.emissions.log_softmax(2) if self.steps is None else self.emissions, steps, self.mask)


def ask(model: nn.Module, batch: Batch) -> Said:
    answer = model(**{name: batch[name] for name in INPUTS if name in batch})
    emissions, steps = answer if isinstance(answer, tuple) else (answer, None)
    if "firsts" in batch:
        places = batch["firsts"].clamp(min=0).unsqueeze(2).expand(-1, -1, emissions.shape[2])
        emissions = emissions.gather(1, places)
    return Said(emissions.float(), None if steps is None else steps.float(), places_of(batch))
