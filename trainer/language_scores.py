"""Scores of language models: loss in nats per token, perplexity, and what goes with them."""

import math

import torch
from torch import nn
from torch.nn import functional

from trainer.data.token_files import TokenSplit
from trainer.evaluation import shares
from trainer.losses import IGNORED
from trainer.parallel import Ranks
from trainer.state import Score

EVALUATION_TOKENS = 1 << 14  # per forward pass and rank; no effect on the score but for rounding, so it is no knob
LARGEST_EXPONENT = 700.0  # a perplexity that is still a number
LARGEST_MASKED_EXPONENT = 80.0


def score_next_tokens(model: nn.Module, split: TokenSplit, ranks: Ranks, *, limit: int | None = None) -> Score:
    """A collective. Every prediction of the split once: mean loss in nats per token, its exponential, and bits per byte of text."""
    num_rows = min(len(split), limit or len(split))
    total = torch.zeros(2, dtype=torch.float64, device=ranks.device)
    for rows, num_valid in shares(num_rows, ranks, max(1, EVALUATION_TOKENS // split.context)):
        inputs, labels = (tensor.to(ranks.device) for tensor in split.batch(rows))
        labels[num_valid:] = IGNORED
        logits = model(inputs).flatten(0, 1).float()
        total[0] += functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="sum")
        total[1] += (labels != IGNORED).sum()
    nats, num_targets = ranks.sum(total.tolist())
    loss = nats / num_targets
    per_byte = split.size.num_targets / max(split.size.num_bytes, 1)
    metrics = {"loss": loss, "perplexity": math.exp(min(loss, LARGEST_EXPONENT)), "bits_per_byte": loss / math.log(2) * per_byte}
    return Score(metrics=metrics, num_rows=num_rows)


class MaskedTally:
    """Counts of tokens that were masked and told."""

    def __init__(self) -> None:
        self._loss, self._num_right, self._num = 0.0, 0, 0

    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """(M, V) and (M,); IGNORED labels do not count."""
        counted = labels != IGNORED
        self._loss += functional.cross_entropy(logits.double(), labels, ignore_index=IGNORED, reduction="sum").item()
        self._num_right += int((logits.argmax(1) == labels)[counted].sum())
        self._num += int(counted.sum())

    def total(self, ranks: Ranks) -> dict[str, float]:
        """A collective."""
        loss, num_right, num = ranks.sum([self._loss, float(self._num_right), float(self._num)])
        mean = loss / max(num, 1.0)
        return {"loss": mean, "accuracy": num_right / max(num, 1.0), "perplexity": math.exp(min(mean, LARGEST_MASKED_EXPONENT))}
