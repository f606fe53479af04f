"""Images on their way through the steps: where each is read, its class, its split, and what is done to its pixels when it is written."""

from dataclasses import dataclass, replace

import torch

from core.recipes.dataset_preparation import Augment, Balance, Sample, Split
from core.recipes.sections.augmentations import ImageAugmentation
from trainer.data.images.decode import Unusable
from trainer.data.images.edit import Edits
from trainer.data.images.listing import Listing
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.prepare.choosing import balanced_rows, sample_rows, split_parts
from trainer.prepare.cleaning import distinct, key_of
from trainer.prepare.frame import Rows, training_rows

_IMAGE_STREAM = 0x1C


@dataclass(frozen=True, slots=True)
class Entry:
    """``position`` in the listing that it was read from."""

    position: int
    label: str
    part: str | None
    edits: Edits | None = None


Entries = list[Entry]


def entries_of(listing: Listing) -> Entries:
    return [Entry(position, str(label), listing.parts[position]) for position, label in enumerate(listing.labels)]


def drop_duplicates(entries: Entries, listing: Listing) -> Entries:
    """Files with the same bytes, whatever they are called; of arrays, the same pixels. InvalidData names what cannot be read."""
    problems = []
    keys = []
    for entry in entries:
        try:
            content = listing.read(entry.position)
        except Unusable as error:
            problems.append(f"{listing.files[entry.position]}: {error}")
            continue
        shape = b"" if isinstance(content, bytes) else repr(content.shape).encode()
        keys.append(key_of(key_of(bytes(content)) + shape + repr(entry.edits).encode()))
    if problems:
        raise InvalidData(problems)
    return _taken(entries, distinct(keys, _parts(entries)))


def split(entries: Entries, step: Split, *, seed: int) -> Entries:
    parts = split_parts(len(entries), step, _labels(entries), seed=seed)
    return [replace(entry, part=part) for entry, part in zip(entries, parts, strict=True)]


def sample(entries: Entries, step: Sample, *, seed: int) -> Entries:
    """Every class keeps its share."""
    return _taken(entries, sample_rows(_parts(entries), _labels(entries), step, seed=seed))


def balance(entries: Entries, step: Balance, *, seed: int) -> Entries:
    return _taken(entries, balanced_rows(_parts(entries), _labels(entries), step, seed=seed))


def augment(entries: Entries, step: Augment, *, seed: int) -> Entries:
    """Copies of training images, behind the originals. Of an image that is a changed copy itself there are none."""
    assert step.images is not None
    counts = training_rows(_parts(entries))
    training = [(row, entry) for row, entry in enumerate(entries) if counts[row] and entry.edits is None]
    copies = []
    for copy in range(step.copies):
        for row, entry in training:
            edits = draw_edits(step.images, copy, generator(seed, _IMAGE_STREAM, copy, row))
            copies.append(replace(entry, edits=edits))
    return [*entries, *copies]


def draw_edits(how: ImageAugmentation, copy: int, random: torch.Generator) -> Edits:
    """``copy`` counts from 0; every second one is turned over, the first among them."""
    share, left, top, turn = torch.rand(4, generator=random, dtype=torch.float64).tolist()
    box = None
    if how.crop is not None:
        side = how.crop + share * (1 - how.crop)
        box = (left * (1 - side), top * (1 - side), left * (1 - side) + side, top * (1 - side) + side)
    angle = (2 * turn - 1) * how.rotate if how.rotate is not None else 0.0
    return Edits(flip=how.flip and copy % 2 == 0, box=box, angle=angle)


def _taken(entries: Entries, rows: Rows) -> Entries:
    return [entries[row] for row in rows.tolist()]


def _parts(entries: Entries) -> list[str | None]:
    return [entry.part for entry in entries]


def _labels(entries: Entries) -> list[str]:
    return [entry.label for entry in entries]
