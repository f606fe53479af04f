"""Prepared images written as they came: in folders of their class, as idx files, or as arrays."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from trainer.data.folder import PARTS
from trainer.data.images.decode import Pixels, Unusable
from trainer.data.images.edit import edited, edited_pixels
from trainer.data.images.idx import UNSIGNED_BYTES
from trainer.data.images.listing import Listing
from trainer.errors import InvalidData
from trainer.prepare.images import Entries, Entry
from trainer.prepare.reading import ImageSource
from trainer.prepare.writing import SPLITS, check_names
from trainer.profile.files import MOST_LISTED
from trainer.tools.telling import Tell

LEVEL = 6  # of gzip: the highest takes four times as long and saves a hundredth


def write_images(entries: Entries, source: ImageSource, folder: Path, tell: Tell) -> dict[str, int]:
    """Rows per split. InvalidData with all images that cannot be read or written."""
    write = {"idx": _write_idx, "arrays": _write_arrays}.get(source.described.form or "", _write_folders)
    write(entries, source, folder, tell)
    has_splits = any(entry.part for entry in entries)
    sizes = Counter((entry.part or "train") if has_splits else "all" for entry in entries)
    return {split: sizes[split] for split in (*SPLITS, "all") if sizes[split]}


def check_images(entries: Entries, source: ImageSource) -> None:
    """InvalidData before anything is written, when names or sizes are not what can be kept."""
    if source.described.form == "images":
        check_names(names_of(entries, source.listing))


def _write_folders(entries: Entries, source: ImageSource, folder: Path, tell: Tell) -> None:
    listing = source.listing

    def write(number: int, entry: Entry) -> None:
        target = folder / names[number]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content_of(entry, listing))

    names = names_of(entries, listing)
    _each(entries, listing, write, tell)


def _each(entries: Entries, listing: Listing, write: Callable[[int, Entry], None], tell: Tell) -> None:
    problems = []
    for number, entry in enumerate(entries):
        tell(number, len(entries))
        try:
            write(number, entry)
        except Unusable as error:
            row = f", row {listing.rows[entry.position]}" if listing.rows[entry.position] else ""
            problems.append(f"{listing.files[entry.position]}{row}: {error}")
    if problems:
        raise InvalidData(problems[:MOST_LISTED])


def content_of(entry: Entry, listing: Listing) -> bytes:
    """An image that no step changed keeps its bytes. Raises Unusable."""
    content = listing.read(entry.position)
    if entry.edits is not None:
        return edited(content, entry.edits)
    assert isinstance(content, bytes)
    return content


def pixels_of(entry: Entry, listing: Listing, shape: Sequence[int]) -> Pixels:
    """Raises Unusable when it has not this shape."""
    content = listing.read(entry.position)
    assert not isinstance(content, bytes)
    pixels = content if entry.edits is None else edited_pixels(content, entry.edits)
    if pixels.shape != tuple(shape):
        raise Unusable(f"it is {' x '.join(map(str, pixels.shape))}, and the first is {' x '.join(map(str, shape))}")
    return pixels


def _write_idx(entries: Entries, source: ImageSource, folder: Path, tell: Tell) -> None:
    """``train-images-idx3-ubyte.gz`` with its labels, and likewise for other splits; without a time or name in the archive."""
    listing = source.listing
    has_splits = any(entry.part for entry in entries)
    first = listing.read(entries[0].position)
    assert not isinstance(first, bytes)
    for split in SPLITS if has_splits else ("all",):
        own = [entry for entry in entries if not has_splits or (entry.part or "train") == split]
        if not own:
            continue
        start = "" if split == "all" else f"{split}-"
        with _idx(folder / f"{start}labels-idx1-ubyte.gz", (len(own),)) as file:
            file.write(bytes(int(entry.label) for entry in own))
        with _idx(folder / f"{start}images-idx3-ubyte.gz", (len(own), *first.shape)) as file:
            _each(own, listing, lambda number, entry, file=file: _append(file, entry, listing, first.shape), tell)  # type: ignore[misc]


def _append(file: IO[bytes] | gzip.GzipFile, entry: Entry, listing: Listing, shape: Sequence[int]) -> None:
    file.write(np.ascontiguousarray(pixels_of(entry, listing, shape)).tobytes())


@contextmanager
def _idx(path: Path, shape: Sequence[int]) -> Iterator[gzip.GzipFile]:
    with path.open("wb") as packed, gzip.GzipFile("", "wb", LEVEL, packed, mtime=0) as file:
        file.write(bytes([0, 0, UNSIGNED_BYTES, len(shape)]) + np.array(shape, dtype=">u4").tobytes())
        yield file


def _write_arrays(entries: Entries, source: ImageSource, folder: Path, tell: Tell) -> None:
    listing = source.listing
    first = listing.read(entries[0].position)
    assert not isinstance(first, bytes)
    with (folder / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": (len(entries), *first.shape), "fortran_order": False, "descr": "|u1"})
        _each(entries, listing, lambda number, entry: _append(file, entry, listing, first.shape), tell)
    np.save(folder / "labels.npy", np.array([int(entry.label) for entry in entries], dtype=np.int64))
    (folder / "classes.json").write_text(json.dumps(source.classes, ensure_ascii=False), "utf-8")
    if any(entry.part for entry in entries):
        np.save(folder / "parts.npy", np.array([PARTS.index(entry.part) for entry in entries], dtype=np.int8))


def names_of(entries: Entries, listing: Listing) -> list[str]:
    """``split/class/name``, or ``class/name``; a name that is taken gets a number."""
    has_splits = any(entry.part for entry in entries)
    taken: set[str] = set()
    names = []
    for entry in entries:
        own = listing.files[entry.position].replace("\\", "/").rpartition("/")[2]
        stem, dot, suffix = own.rpartition(".")
        suffix = f"{dot}{suffix}" if entry.edits is None else ".png"
        start = [entry.part or "train"] if has_splits else []
        name, number = "/".join([*start, entry.label, f"{stem}{suffix}"]), 1
        while name.casefold() in taken:
            number += 1
            name = "/".join([*start, entry.label, f"{stem}-{number}{suffix}"])
        taken.add(name.casefold())
        names.append(name)
    return names
