"""Pictures of a profile, as SVG: the same profile gives the same bytes. matplotlib is loaded with this module."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.profile import LabelsProfile, Numbers, Profile
from trainer.package.plots import MAX_NAME, STYLE

MOST_PANELS = 12
MOST_CLASSES = 40
COLUMNS = 3


def draw(profile: Profile, folder: Path) -> list[Path]:
    """Draws what there is to draw into ``folder``, and says which files that made."""
    folder.mkdir(exist_ok=True)
    made = []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # text stays text, and viewers have more fonts
        for name, figure in _figures(profile):
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            made.append(path)
    return made


def _figures(profile: Profile) -> Iterator[tuple[str, Figure]]:
    if profile.labels is not None and profile.labels.num_labels <= MOST_CLASSES:
        yield "labels", _classes(profile.labels)
    for name, panels in (("numbers", _of_columns(profile)), ("lengths", _of_texts(profile)), ("media", _of_media(profile))):
        if panels:
            yield name, _histograms(dict(list(panels.items())[:MOST_PANELS]))


def _of_columns(profile: Profile) -> dict[str, Numbers]:
    return {column.name: column.numbers for column in profile.columns if column.numbers is not None}


def _of_texts(profile: Profile) -> dict[str, Numbers]:
    return {f"words in {column.name}": column.lengths.words for column in profile.columns if column.lengths is not None}


def _of_media(profile: Profile) -> dict[str, Numbers]:
    found: dict[str, Numbers | None] = {}
    if profile.images is not None:
        found |= {"width in pixels": profile.images.widths, "height in pixels": profile.images.heights}
    if profile.audio is not None:
        found |= {"seconds": profile.audio.seconds}
    return {name: numbers for name, numbers in found.items() if numbers is not None}


def _classes(labels: LabelsProfile) -> Figure:
    """Shares within each split, beside each other, so that drift is seen whatever the sizes of the splits."""
    names = list(dict.fromkeys(name for counts in labels.counts.values() for name in counts))
    figure = Figure(figsize=(6.4, 1.2 + 0.3 * len(names)), layout="constrained")
    axes: Axes = figure.subplots()
    height = 0.8 / max(1, len(labels.counts))
    for number, (split, counts) in enumerate(labels.counts.items()):
        total = max(1, sum(counts.values()))
        places = [row + number * height for row in range(len(names))]
        axes.barh(places, [counts.get(name, 0) / total for name in names], height, label=f"{split} ({total:,})")
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(names))], [_short(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("share of the split")
    axes.legend(fontsize=8)
    return figure


def _histograms(panels: dict[str, Numbers]) -> Figure:
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, (name, numbers) in zip(grid, panels.items(), strict=False):
        width = (numbers.max - numbers.min) / len(numbers.histogram)
        if width > 0:
            edges = [numbers.min + width * number for number in range(len(numbers.histogram))]
            axes.bar(edges, numbers.histogram, width, align="edge")
        else:
            axes.bar([numbers.min], [numbers.num], 0.5)
        axes.set_title(_short(name), fontsize=9)
        axes.tick_params(labelsize=7)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


def _short(name: str) -> str:
    """One line without what XML cannot hold."""
    plain = "".join(character if character.isprintable() else " " for character in name)
    return plain if len(plain) <= MAX_NAME else f"{plain[: MAX_NAME - 1]}…"
