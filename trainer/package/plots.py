"""Pictures of a training: PNG for the card, SVG for everything else. The same numbers give the same bytes.

matplotlib without pyplot: no global figures, no window system. Import this module where it is used, not before.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.package.contents import Confusion
from trainer.package.curves import Curve, by_split, first_step, panels, read_curves

MAX_PANELS = 4
MAX_NAMED_CLASSES = 40
MAX_COUNTED_CLASSES = 20
MAX_NAME = 20
# Text stays text in the SVG; its ids come from the salt and not from a random number.
# A dollar sign in a label is no formula.
STYLE: Any = {"svg.hashsalt": "trainyard", "svg.fonttype": "none", "text.parse_math": False, "axes.grid": True, "grid.alpha": 0.3}


def draw_plots(metrics_file: Path, confusion: Confusion | None, folder: Path) -> list[Path]:
    """Draws what there is to draw into ``folder`` and says which files that made."""
    curves = read_curves(metrics_file)
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        return [path for name, figure in _figures(curves, confusion) for path in _save(figure, folder / name)]


def _figures(curves: dict[str, Curve], confusion: Confusion | None) -> Iterator[tuple[str, Figure]]:
    later = first_step(curves)
    note = f" (this attempt, from step {later})" if later > 1 else ""
    if "loss" in curves:
        yield "loss", _curves_figure({f"loss{note}": by_split(curves, "loss")})
    if "learning_rate" in curves:
        yield "learning_rate", _curves_figure({f"learning rate{note}": {"": curves["learning_rate"]}})
    found = panels(curves)
    if found:
        yield "metrics", _curves_figure({name.replace("_", " "): found[name] for name in list(found)[:MAX_PANELS]})
    if confusion is not None:
        yield "confusion", _confusion_figure(*confusion)


def _curves_figure(content: dict[str, dict[str, Curve]]) -> Figure:
    """A panel for each metric, a line for each split."""
    columns = min(len(content), 2)
    rows = -(-len(content) // columns)
    width, height = (6.4 if columns == 1 else 9.6), 3.2 * rows
    figure = Figure(figsize=(width, height))
    # Margins in inches: letting matplotlib find them by itself draws everything twice.
    figure.subplots_adjust(0.7 / width, 0.55 / height, 1 - 0.15 / width, 1 - 0.4 / height, wspace=0.2, hspace=0.4)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, (title, lines) in zip(grid, content.items(), strict=False):
        for name, curve in lines.items():
            marker = "." if len(curve.steps) < 50 else None
            axes.plot(curve.steps, curve.values, label=name, linewidth=1.2, marker=marker)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("optimiser step")
        if len(lines) > 1:
            axes.legend(fontsize=8)
    for axes in grid[len(content) :]:
        axes.set_visible(False)
    return figure


def _confusion_figure(labels: list[str], counts: npt.NDArray[np.int64]) -> Figure:
    """Shares of each label's rows, so that rare classes are as visible as frequent ones; the counts are written in."""
    longest = max(map(len, labels)) if len(labels) <= MAX_NAMED_CLASSES else 4
    margin, side = 0.6 + 0.075 * min(longest, MAX_NAME), min(9.0, 2.5 + 0.3 * len(labels))
    figure = Figure(figsize=(side + margin, side + margin))
    share = margin / (side + margin)
    axes = figure.add_axes((share, share, 0.98 - share, 0.98 - share))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    if len(labels) <= MAX_NAMED_CLASSES:
        _name_classes(axes, labels)
    if len(labels) <= MAX_COUNTED_CLASSES:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=color)
    return figure


def _name_classes(axes: Axes, labels: list[str]) -> None:
    short = [label if len(label) <= MAX_NAME else f"{label[: MAX_NAME - 1]}…" for label in labels]
    axes.set_xticks(range(len(labels)), short, rotation=90, fontsize=7)
    axes.set_yticks(range(len(labels)), short, fontsize=7)


def _save(figure: Figure, stem: Path) -> list[Path]:
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    figure.savefig(png)
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]
