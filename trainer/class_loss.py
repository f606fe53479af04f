"""Losses of classifiers, one per row: cross-entropy with smoothed labels and weighted classes, and focal loss."""

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class ClassLoss:
    """``gamma`` None: cross-entropy; else focal loss, cross-entropy times (1 - p) ** gamma (Lin et al. 2017, arXiv:1708.02002).

    ``smoothing`` takes that much of each label and spreads it over all classes (Szegedy et al. 2015, arXiv:1512.00567).
    ``weights`` are (K,), one per class.
    """

    gamma: float | None = None
    smoothing: float = 0.0
    weights: torch.Tensor | None = None

    def per_row(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N, K) logits in any precision and (N,) labels to (N,) float32 losses."""
        logits = logits.float()
        weights = self.weights.to(logits.device) if self.weights is not None else None
        losses = functional.cross_entropy(logits, labels, weight=weights, label_smoothing=self.smoothing, reduction="none")
        if self.gamma is None:
            return losses
        right = logits.log_softmax(1).gather(1, labels[:, None]).squeeze(1).exp()
        return losses * (1 - right) ** self.gamma
