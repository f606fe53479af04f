"""Numbers moved into bounds or onto one scale; bounds and scales are learned from the training rows."""

from typing import Any

import numpy as np
import pyarrow as pa

from core.recipes.dataset_preparation import ClipOutliers, Normalise
from trainer.errors import InvalidData
from trainer.prepare.frame import Done, Floats, Frame, numbers_of, training_rows, with_numbers


def clip_outliers(frame: Frame, step: ClipOutliers) -> Done:
    fitted: dict[str, Any] = {}
    num_changed = 0
    for name in step.columns:
        values = numbers_of(frame, name)
        low, high = bounds(_known(frame, name, values), step)
        outside = (values < low) | (values > high)
        frame = with_numbers(frame, name, np.clip(values, low, high), outside)
        fitted[name] = {"low": low, "high": high}
        num_changed += int(outside.sum())
    return Done(frame, num_changed, fitted)


def bounds(known: Floats, step: ClipOutliers) -> tuple[float, float]:
    """Quantiles by linear interpolation; or quartiles, and so many times their distance beyond."""
    if step.by == "quantiles":
        low, high = np.quantile(known, (step.low, step.high)).tolist()
        return low, high
    lower, upper = np.quantile(known, (0.25, 0.75)).tolist()
    reach = step.factor * (upper - lower)
    return lower - reach, upper + reach


def normalise(frame: Frame, step: Normalise) -> Done:
    """(value - shift) / scale. ``standard``: mean and population deviation; ``minmax``: minimum and range."""
    fitted: dict[str, Any] = {}
    for name in step.columns:
        values = numbers_of(frame, name)
        known = _known(frame, name, values)
        shift = float(known.mean() if step.by == "standard" else known.min())
        scale = float(known.std() if step.by == "standard" else known.max() - known.min())
        # What rounding makes of a constant is no spread.
        is_constant = bool(known.min() == known.max())
        scaled = np.where(np.isnan(values), np.nan, 0.0) if is_constant else (values - shift) / scale
        frame = frame.replace(name, pa.array(scaled, pa.float64(), from_pandas=True))
        fitted[name] = {"shift": shift, "scale": 0.0 if is_constant else scale}
    return Done(frame, num_changed=frame.num_rows * len(step.columns), fitted=fitted)


def _known(frame: Frame, name: str, values: Floats) -> Floats:
    known: Floats = values[training_rows(frame.parts) & ~np.isnan(values)]
    if not len(known):
        raise InvalidData([f"column {name!r} has no number in the training rows to learn from"])
    return known
