"""The curves of an attempt, read from its ``metrics.jsonl``: which points a plot shows."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

MAX_POINTS = 1000
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Curve:
    steps: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


def read_curves(path: Path) -> dict[str, Curve]:
    """Every metric by name, of this attempt alone: what an earlier attempt told is in the job's metrics, not in its file.

    A torn last line is left out, as is a file that is not there.
    """
    points: dict[str, tuple[list[float], list[float]]] = {}
    lines = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
    for line in lines:
        point = json.loads(line)
        for name, value in point["values"].items():
            steps, values = points.setdefault(name, ([], []))
            steps.append(point["step"])
            values.append(value)
    return {name: thinned(Curve(np.array(steps, float), np.array(values, float))) for name, (steps, values) in points.items()}


def thinned(curve: Curve, max_points: int = MAX_POINTS) -> Curve:
    """At most ``max_points``: long curves become means of equal runs of points, which is what an eye makes of them anyway."""
    if len(curve.steps) <= max_points:
        return curve
    edges = np.linspace(0, len(curve.steps), max_points + 1).astype(int)[:-1]
    sizes = np.diff(np.append(edges, len(curve.steps)))
    return Curve(np.add.reduceat(curve.steps, edges) / sizes, np.add.reduceat(curve.values, edges) / sizes)


def first_step(curves: dict[str, Curve]) -> int:
    """The first step that is told; 0 where nothing is."""
    return min((int(curve.steps[0]) for curve in curves.values()), default=0)


def panels(curves: dict[str, Curve]) -> dict[str, dict[str, Curve]]:
    """Metrics that were evaluated, loss excepted: {"accuracy": {"training": curve, "validation": curve}}."""
    prefix = "validation_"
    names = sorted(name.removeprefix(prefix) for name in curves if name.startswith(prefix))
    return {name: by_split(curves, name) for name in names if name != "loss"}


def by_split(curves: dict[str, Curve], name: str) -> dict[str, Curve]:
    """The curves of one metric: what training told of its batches, and what evaluations found. The test is a point, no curve."""
    found = {"training": curves.get(name), "validation": curves.get(f"validation_{name}")}
    return {split: curve for split, curve in found.items() if curve is not None}
