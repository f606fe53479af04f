"""Writes any source of images as a folder that ``trainer.data.folder`` reads: decoded once, for all ranks and later jobs."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from core.recipes.image_classification import Data
from trainer.data.findings import Findings
from trainer.data.folder import KEY_BYTES, PARTS, load_image_folder
from trainer.data.images.by_class import holds_images, list_archives, list_folder
from trainer.data.images.decode import Header, Pixels, Unusable, decode, header_of
from trainer.data.images.idx import idx_pairs, list_idx
from trainer.data.images.listing import Content, Listing, in_order
from trainer.data.images.tabled import list_table
from trainer.data.layout import find_parts
from trainer.data.table import READERS
from trainer.errors import InvalidData

MOST_PIXELS_BY_ITSELF = 224  # side; more only when the spec asks for it
TABLES = tuple(suffix for suffix in READERS if suffix != ".json")  # a .json beside images is seldom a table


def import_images(root: Path, knobs: Data, out: Path) -> None:
    """Fills the folder ``out``. Raises InvalidData with everything that is wrong."""
    findings = Findings()
    listing = list_images(root, knobs, findings)
    if findings.has_fatal:
        findings.settle(knobs.on_bad_rows)
    shape = common_shape(listing, knobs, findings)
    if shape is None:
        findings.fatal("there is no image in it that can be read")
        findings.settle(knobs.on_bad_rows)
        return
    rows, keys = write_images(listing, shape, out / "images.npy", findings)
    findings.settle(knobs.on_bad_rows)
    classes = in_order([listing.labels[row] for row in rows])
    if len(classes) == 1:
        findings.fatal(f"all images are of one class, {classes[0]!r}; two at least are needed")
    findings.settle(knobs.on_bad_rows)
    number = {label: position for position, label in enumerate(classes)}
    np.save(out / "labels.npy", np.array([number[listing.labels[row]] for row in rows], dtype=np.int64))
    (out / "classes.json").write_text(json.dumps(_distinct([listing.names.get(label, str(label)) for label in classes])))
    np.save(out / "parts.npy", np.array([PARTS.index(listing.parts[row]) for row in rows], dtype=np.int8))
    np.save(out / "keys.npy", np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_BYTES))
    (out / "files.json").write_text(json.dumps([_place(listing, row) for row in rows]))
    for name, cells in (("groups.json", listing.groups), ("times.json", listing.times)):
        if cells is not None:
            (out / name).write_text(json.dumps([cells[row] for row in rows]))
    (out / "report.json").write_text(json.dumps(findings.report()))


def list_images(root: Path, knobs: Data, findings: Findings) -> Listing:
    """What ``root`` holds, in whichever form."""
    if (root / "images.npy").is_file():
        return _list_arrays(root)
    if find_parts(root, (".zip",)):
        return list_archives(root, findings)
    if pairs := idx_pairs(root):
        return list_idx(pairs, findings)
    # A table beside folders of images tells more about them than the folders do.
    if find_parts(root, TABLES):
        return list_table(root, knobs, findings)
    if root.is_dir() and holds_images(root):
        return list_folder(root, findings)
    findings.fatal(
        f"{root.name} holds neither folders of images, nor a .zip of them, nor a table, nor idx files, "
        "nor images.npy with labels.npy and classes.json"
    )
    return Listing()


def _list_arrays(root: Path) -> Listing:
    data = load_image_folder(root)
    if data.num_channels not in (1, 3):
        raise InvalidData([f"images with {data.num_channels} channels cannot be made into others; leave image_size and channels on auto"])
    listing = Listing(names=dict(enumerate(data.classes)))
    for row, label in enumerate(data.labels.tolist()):
        listing.add(label, part=data.parts[row] if data.parts else None, file="images.npy", row=row + 1)
    listing.read = lambda position: np.ascontiguousarray(data.images[position])
    return listing


def common_shape(listing: Listing, knobs: Data, findings: Findings) -> tuple[int, int, int] | None:
    """Height, width and channels that all images get; None when no image can be read. Bad images are found when they are decoded."""
    headers = list(_headers(listing))
    if not headers:
        return None
    if knobs.image_size != "auto":
        height = width = knobs.image_size
    elif len({header[:2] for header in headers}) == 1:
        height, width = headers[0][:2]
    else:
        median = sorted(min(header.height, header.width) for header in headers)[len(headers) // 2]
        height = width = min(median, MOST_PIXELS_BY_ITSELF)
        findings.count(f"images scaled to {height} x {width}, for their sizes differ", len(headers))
    coloured = not all(header.is_grey for header in headers)
    return height, width, 1 if knobs.channels == "grey" or (knobs.channels == "auto" and not coloured) else 3


def _headers(listing: Listing) -> Iterator[Header]:
    for position in range(len(listing)):
        try:
            yield header_of(listing.read(position))
        except Unusable:
            continue


def write_images(listing: Listing, shape: tuple[int, int, int], path: Path, findings: Findings) -> tuple[list[int], list[bytes]]:
    """Writes ``images.npy``; the positions of the images that are in it, and a digest of each one's pixels."""
    height, width, num_channels = shape
    rows: list[int] = []
    keys: list[bytes] = []
    stored = (height, width) if num_channels == 1 else shape
    with path.open("wb") as file:
        _write_header(file, (len(listing), *stored))
        for position in range(len(listing)):
            try:
                pixels = _pixels(listing.read(position), shape)
            except Unusable as error:
                findings.bad_row(str(error), file=listing.files[position], row=listing.rows[position] or None)
                continue
            content = pixels.tobytes()
            file.write(content)
            rows.append(position)
            keys.append(hashlib.blake2b(content, digest_size=KEY_BYTES).digest())
        file.seek(0)
        _write_header(file, (len(rows), *stored))
    return rows, keys


def _pixels(content: Content, shape: tuple[int, int, int]) -> Pixels:
    return decode(content, height=shape[0], width=shape[1], num_channels=shape[2])


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """NumPy leaves room for the first axis to grow: a header with fewer rows has the same length."""
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "|u1"})


def _place(listing: Listing, row: int) -> str:
    return f"{listing.files[row]}:{listing.rows[row]}" if listing.rows[row] else listing.files[row]


def _distinct(names: list[str]) -> list[str]:
    """Two classes with one name get their numbers added."""
    return [f"{name} ({position})" if names.count(name) > 1 else name for position, name in enumerate(names)]
