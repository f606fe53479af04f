"""Numbers moved into bounds or onto one scale; what is not given is learned from the training rows."""

from typing import Any

import numpy as np
import pyarrow as pa

from core.recipes.dataset_preparation import ClipOutliers, Normalise
from trainer.errors import InvalidData
from trainer.prepare.frame import Done, Floats, Frame, Mask, floats, numbers_of, problem_of_numbers, training_rows, with_numbers


def clip_outliers(frame: Frame, step: ClipOutliers) -> Done:
    fitted: dict[str, Any] = {}
    num_changed = 0
    for name in step.columns:
        low, high = _given_bounds(frame, name, step) if step.by == "bounds" else bounds(_known(frame, name, numbers_of(frame, name)), step)
        num_changed += sum(int(_outside(floats(batch.column(0)), low, high).sum()) for batch in frame.read([name]))
        frame = _clipped(frame, name, low, high)
        fitted[name] = {"low": low, "high": high}
    return Done(frame, num_changed, {} if step.by == "bounds" else fitted)


def bounds(known: Floats, step: ClipOutliers) -> tuple[float, float]:
    """Quantiles by linear interpolation; or quartiles, and so many times their distance beyond."""
    if step.by == "quantiles":
        low, high = np.quantile(known, (step.low, step.high)).tolist()
        return low, high
    lower, upper = np.quantile(known, (0.25, 0.75)).tolist()
    reach = step.factor * (upper - lower)
    return lower - reach, upper + reach


def _given_bounds(frame: Frame, name: str, step: ClipOutliers) -> tuple[float, float]:
    problem = problem_of_numbers(name, frame.cells(name))
    if problem is not None:
        raise InvalidData([problem])
    return -np.inf if step.min is None else step.min, np.inf if step.max is None else step.max


def _clipped(frame: Frame, name: str, low: float, high: float) -> Frame:
    return with_numbers(frame, name, lambda values: (np.clip(values, low, high), _outside(values, low, high)))


def _outside(values: Floats, low: float, high: float) -> Mask:
    outside: Mask = (values < low) | (values > high)
    return outside


def normalise(frame: Frame, step: Normalise) -> Done:
    """(value - shift) / scale. ``standard``: mean and population deviation; ``minmax``: minimum and range."""
    fitted: dict[str, Any] = {}
    for name in step.columns:
        known = _known(frame, name, numbers_of(frame, name))
        shift = float(known.mean() if step.by == "standard" else known.min())
        scale = float(known.std() if step.by == "standard" else known.max() - known.min())
        # What rounding makes of a constant is no spread.
        is_constant = bool(known.min() == known.max())
        frame = _scaled(frame, name, shift, 0.0 if is_constant else scale)
        fitted[name] = {"shift": shift, "scale": 0.0 if is_constant else scale}
    return Done(frame, num_changed=frame.num_rows * len(step.columns), fitted=fitted)


def _scaled(frame: Frame, name: str, shift: float, scale: float) -> Frame:
    def scaled(cells: pa.ChunkedArray, start: int) -> pa.Array:
        values = floats(cells)
        return pa.array((values - shift) / scale if scale else np.where(np.isnan(values), np.nan, 0.0), pa.float64(), from_pandas=True)

    return frame.replace(name, pa.float64(), scaled)


def _known(frame: Frame, name: str, values: Floats) -> Floats:
    known: Floats = values[training_rows(frame.parts) & ~np.isnan(values)]
    if not len(known):
        raise InvalidData([f"column {name!r} has no number in the training rows to learn from"])
    return known
