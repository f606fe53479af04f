"""Images described one after the other: each is decoded, and nothing is kept of it but sizes, a digest and a label."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.profile import ImagesProfile
from trainer.data.findings import Findings
from trainer.data.images.decode import Inspected, Unusable, inspect
from trainer.data.images.importing import list_images
from trainer.data.images.listing import Listing, in_order
from trainer.data.splits import make_splits
from trainer.profile.detection import Detected
from trainer.profile.numbers import summarise, top
from trainer.profile.rows import Ledger
from trainer.profile.rules import SEED, knobs_of
from trainer.profile.sketch import Sketch
from trainer.tools.telling import Tell

TASK = "image-classification"


@dataclass(slots=True)
class _Seen:
    widths: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    num_blank: int = 0

    def add(self, image: Inspected) -> None:
        self.widths.append(image.width)
        self.heights.append(image.height)
        self.modes[image.mode] += 1
        self.formats[image.format] += 1
        self.num_blank += image.is_blank

    def sizes(self) -> Counter[str]:
        return Counter(f"{width} x {height}" for width, height in zip(self.widths, self.heights, strict=True))


def profile_images(root: Path, detected: Detected, findings: Findings, rules: Findings, tell: Tell) -> Sketch:
    """``findings``: what cannot be read; ``rules``: what classification would refuse."""
    listing = list_images(root, knobs_of(TASK, detected.columns), findings)
    sketch, seen = Sketch(Ledger(has_splits=any(listing.parts)), unit="images"), _Seen()
    usable = []
    for position in range(len(listing)):
        tell(position, len(listing))
        try:
            image = inspect(listing.read(position))
        except Unusable as error:
            findings.bad_row(str(error), file=listing.files[position], row=listing.rows[position] or None)
            continue
        usable.append(position)
        seen.add(image)
        sketch.ledger.add(image.digest, part=listing.parts[position], label=_label(listing, position))
    _check(listing, usable, detected, rules)
    sketch.images = _described(seen)
    sketch.labels = sketch.ledger.labels_profile(detected.columns.get("label"))
    if len(seen.sizes()) > 1:
        sketch.warn("differing_sizes", f"images have {len(seen.sizes()):,} different sizes; training scales and crops them to one")
    if seen.num_blank:
        sketch.warn("blank", f"{seen.num_blank:,} images have a single colour")
    return sketch


def _label(listing: Listing, position: int) -> str:
    label = listing.labels[position]
    return listing.names.get(label, str(label))


def _described(seen: _Seen) -> ImagesProfile:
    return ImagesProfile(
        widths=summarise(seen.widths),
        heights=summarise(seen.heights),
        sizes=top(seen.sizes()),
        modes=top(seen.modes),
        formats=top(seen.formats),
    )


def _check(listing: Listing, usable: list[int], detected: Detected, rules: Findings) -> None:
    """What the recipe asks of classes and splits."""
    if not usable:
        if not rules.has_fatal:
            rules.fatal("there is no image in it that can be read")
        return
    labels = [listing.labels[position] for position in usable]
    classes = in_order(labels)
    if len(classes) == 1:
        rules.fatal(f"all images are of one class, {classes[0]!r}; two at least are needed")
        return
    number = {label: position for position, label in enumerate(classes)}
    make_splits(
        len(usable),
        knobs_of(TASK, detected.columns),
        seed=SEED,
        findings=rules,
        labels=np.array([number[label] for label in labels], dtype=np.int64),
        label_names=[listing.names.get(label, str(label)) for label in classes],
        parts=[listing.parts[position] for position in usable],
    )
