"""Columns of numbers made fit for a network: holes filled, outliers moved, scaled. Learned once, kept as JSON, applied anywhere."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from core.recipes.tabular import Data

Numbers = npt.NDArray[np.float64]

MAX_QUANTILES = 1000
FURTHEST = 1e-7  # ranks are kept this far from 0 and 1, whose normal quantiles are infinite: the scaled range is +-5.2


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """``centre`` and ``scale`` are used by standard scaling, ``quantiles`` by quantile scaling; empty otherwise.

    ``indicator``: whether the model is told, by one more input, which cells were missing.
    """

    name: str
    fill: float
    indicator: bool
    low: float | None
    high: float | None
    centre: float
    scale: float
    quantiles: tuple[float, ...] = ()

    def apply(self, cells: Numbers) -> Numbers:
        """NaN is missing. The result is finite where ``cells`` are finite or NaN."""
        filled = np.where(np.isnan(cells), self.fill, cells)
        if self.low is not None or self.high is not None:
            filled = np.clip(filled, self.low, self.high)
        if self.quantiles:
            return to_normal(filled, np.array(self.quantiles))
        return (filled - self.centre) / self.scale


def fit_numeric(name: str, cells: Numbers, knobs: Data) -> NumericColumn:
    """``cells`` are those of the training rows; NaN is missing. A column without any number is filled with the constant."""
    missing = np.isnan(cells)
    present = cells[~missing]
    fill = filling(present, knobs.impute_numbers, knobs.impute_constant)
    low, high = bounds(present, knobs.clip_outliers)
    seen = np.where(missing, fill, cells)
    if low is not None or high is not None:
        seen = np.clip(seen, low, high)
    standard = knobs.scaling == "standard"
    deviation = float(seen.std()) if standard and len(seen) else 1.0
    return NumericColumn(
        name=name,
        fill=fill,
        indicator=bool(missing.any()) and knobs.missing_indicators,
        low=low,
        high=high,
        centre=float(seen.mean()) if standard and len(seen) else 0.0,
        scale=deviation if deviation > 0 else 1.0,
        quantiles=_quantiles(seen) if knobs.scaling == "quantile" else (),
    )


def filling(present: Numbers, how: Literal["median", "mean", "most_frequent", "constant"], constant: float) -> float:
    """Of equally frequent numbers the smallest."""
    if how == "constant" or not len(present):
        return constant
    if how == "most_frequent":
        values, counts = np.unique(present, return_counts=True)
        return float(values[counts.argmax()])
    return float(np.median(present) if how == "median" else present.mean())


def bounds(present: Numbers, num_ranges: float | None) -> tuple[float | None, float | None]:
    """Tukey's fences: ``num_ranges`` interquartile ranges beyond the quartiles."""
    if num_ranges is None or not len(present):
        return None, None
    lower, upper = np.quantile(present, [0.25, 0.75])
    reach = num_ranges * (upper - lower)
    return float(lower - reach), float(upper + reach)


def to_normal(values: Numbers, quantiles: Numbers) -> Numbers:
    """The standard normal quantile of each value's rank. A value that fills several ranks gets the middle of them."""
    ranks = np.linspace(0, 1, len(quantiles))
    upward = np.interp(values, quantiles, ranks)
    downward = -np.interp(-values, -quantiles[::-1], -ranks[::-1])
    middle = np.clip((upward + downward) / 2, FURTHEST, 1 - FURTHEST)
    normal: Numbers = torch.special.ndtri(torch.from_numpy(middle)).numpy()
    return normal


def _quantiles(seen: Numbers) -> tuple[float, ...]:
    """Numbers that were seen, not points between them: equal ones must stay equal."""
    if not len(seen):
        return (0.0, 1.0)
    ranks = np.linspace(0, 1, max(2, min(MAX_QUANTILES, len(seen))))
    return tuple(np.quantile(seen, ranks, method="nearest").tolist())


def numeric_from_json(content: dict[str, Any]) -> NumericColumn:
    return NumericColumn(**{**content, "quantiles": tuple(content["quantiles"])})
