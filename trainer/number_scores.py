"""Scores of predicted numbers, added up batch by batch and over the ranks: mse, mae, rmse and r2, in the unit of the targets."""

import math

import torch

from trainer.parallel import Ranks


class NumberTally:
    """Counts of one split. ``shift`` is a number near the targets: sums of squares around it lose no digits."""

    def __init__(self, shift: float, device: torch.device) -> None:
        self._shift = shift
        self._sums = torch.zeros(6, dtype=torch.float64, device=device)  # loss, squared error, absolute error, targets, their squares, rows

    def add(self, predictions: torch.Tensor, targets: torch.Tensor, losses: torch.Tensor) -> None:
        """(N,) each; ``losses`` are what training minimises, in whatever unit."""
        errors, shifted = predictions.double() - targets.double(), targets.double() - self._shift
        parts = (losses.double(), errors**2, errors.abs(), shifted, shifted**2, torch.ones_like(shifted))
        self._sums += torch.stack([part.sum() for part in parts])

    def total(self, ranks: Ranks) -> dict[str, float]:
        """A collective: the metrics of all ranks' rows. ``r2`` is 0 where all targets are the same."""
        loss, squares, absolute, targets, target_squares, num = ranks.sum(self._sums.tolist())
        spread = target_squares - targets**2 / num
        r2 = 1 - squares / spread if spread > 1e-12 * max(1.0, target_squares) else 0.0
        mse = squares / num
        return {"loss": loss / num, "mse": mse, "rmse": math.sqrt(mse), "mae": absolute / num, "r2": r2}
