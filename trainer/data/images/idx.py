"""The format of MNIST and its successors: ``train-images-idx3-ubyte.gz`` with ``train-labels-idx1-ubyte.gz``, and ``t10k`` or ``test``."""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.findings import Findings
from trainer.data.images.listing import Listing
from trainer.data.layout import part_of

UNSIGNED_BYTES = 0x08
MOST_BYTES = 1 << 36
_IMAGES = re.compile(r"(?P<stem>.*?)[-_.]?images[-_.]idx3[-_.]ubyte(\.gz)?$")
_PART_OF = {"t10k": "test"}


def idx_pairs(root: Path) -> dict[Path, Path]:
    """Files of images below ``root`` and the labels that belong to them; those without a partner are left to ``list_idx``."""
    files = [root] if root.is_file() else sorted(path for path in root.iterdir() if path.is_file())
    return {
        path: path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1")) for path in files if _IMAGES.match(path.name)
    }


def list_idx(pairs: dict[Path, Path], findings: Findings) -> Listing:
    """Class names are the numbers."""
    listing = Listing()
    arrays: list[npt.NDArray[np.uint8]] = []
    for images_path, labels_path in pairs.items():
        images, labels = read_idx(images_path, 3, findings), read_idx(labels_path, 1, findings)
        if images is None or labels is None:
            continue
        if len(images) != len(labels):
            findings.fatal(f"{len(images)} images, but {labels_path.name} has {len(labels)} labels", file=images_path.name)
            continue
        arrays += list(images)
        for row, label in enumerate(labels.tolist(), 1):
            listing.add(label, part=_part(images_path), file=images_path.name, row=row)
    listing.read = arrays.__getitem__
    return listing


def read_idx(path: Path, num_axes: int, findings: Findings) -> npt.NDArray[np.uint8] | None:
    """The array of a file, gzipped or not; None after a finding."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] != UNSIGNED_BYTES or start[3] != num_axes:
                findings.fatal(f"it is no idx file of unsigned bytes with {num_axes} axes", file=path.name)
                return None
            shape = np.frombuffer(file.read(4 * num_axes), dtype=">u4").tolist()
            size = math.prod(shape)
            content = file.read(min(size, MOST_BYTES) + 1)
    except FileNotFoundError:
        findings.fatal(f"{path.name} is missing")
        return None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        findings.fatal(f"it cannot be read: {error}", file=path.name)
        return None
    if len(shape) != num_axes or len(content) != size:
        findings.fatal(f"it announces {' x '.join(map(str, shape))} bytes and does not hold as many", file=path.name)
        return None
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _part(path: Path) -> str | None:
    match = _IMAGES.match(path.name)
    assert match is not None
    word = re.split(r"[-_.]", match["stem"])[-1]
    return _PART_OF.get(word) or part_of(word)
