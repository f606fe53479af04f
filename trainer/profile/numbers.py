"""Many numbers in a few."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from core.profile import Count, Numbers

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20
MOST_COUNTS = 10
LONGEST_VALUE = 80  # characters of a value that is shown


def summarise(values: Sequence[float] | npt.NDArray[np.float64]) -> Numbers | None:
    """Of the finite ones; None when there are none."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if not len(array):
        return None
    scale = float(np.abs(array).max()) or 1.0
    scaled = array / scale  # squares of very large numbers would overflow
    low, high = float(array.min()), float(array.max())
    quantiles = {str(share): float(value) for share, value in zip(QUANTILES, np.quantile(scaled, QUANTILES) * scale, strict=True)}
    return Numbers(
        num=len(array),
        min=low,
        max=high,
        mean=float(scaled.mean() * scale),
        deviation=float(scaled.std() * scale),
        quantiles=quantiles,
        histogram=np.histogram(scaled, bins=BINS, range=_range(low / scale, high / scale))[0].tolist(),
    )


def _range(low: float, high: float) -> tuple[float, float]:
    """A constant, or numbers that differ by rounding alone, fall into the middle."""
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def top(values: Iterable[str] | Counter[str]) -> list[Count]:
    """The most frequent, ties by the alphabet, so that the same data give the same profile."""
    counts = values if isinstance(values, Counter) else Counter(values)
    first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_COUNTS]
    return [Count(value=shortened(value), num=num) for value, num in first]


def shortened(value: str) -> str:
    """As much of a value as a profile shows."""
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…"
