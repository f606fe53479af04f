"""A materialised image dataset: ``images.npy`` (uint8, N x H x W or N x H x W x C), ``labels.npy`` (integers, N), ``classes.json`` (names).

Beside them may lie ``parts.npy`` (int8, N: given splits, positions in ``PARTS``), and, where images were imported, ``keys.npy``
(a digest of each), ``files.json`` (where each came from) and ``report.json`` (what was found on the way).
Memory-mapped, so that every rank of a node shares one copy. All that is wrong is said at once.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from trainer.errors import InvalidData

MIN_PIXELS = 4  # two halvings must leave something
MAX_CHANNELS = 16
MAX_CLASSES = 100_000
PARTS = (None, "train", "validation", "test")
KEY_BYTES = 16

Array = npt.NDArray[Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """``images`` stay on disk until they are asked for; ``labels`` are int64 in memory."""

    images: Array
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    parts: list[str | None] | None = None
    root: Path | None = None

    @property
    def num_channels(self) -> int:
        return int(self.images.shape[3]) if self.images.ndim == 4 else 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.images.shape[1]), int(self.images.shape[2])

    def keys(self) -> list[bytes]:
        """A digest of each image's pixels: equal ones are the same image."""
        if self.root is not None and (self.root / "keys.npy").exists():
            known = np.load(self.root / "keys.npy", allow_pickle=False)
            return [key.tobytes() for key in known]
        return [hashlib.blake2b(image.tobytes(), digest_size=KEY_BYTES).digest() for image in self.images]

    def files(self) -> list[str] | None:
        """Where each image came from, when it is known."""
        names: list[str] | None = self._json("files.json")
        return names

    def groups(self) -> list[Any] | None:
        """Of each row, what ``data.group_column`` says; None where images have no such column."""
        groups: list[Any] | None = self._json("groups.json")
        return groups

    def times(self) -> list[Any] | None:
        """Likewise for ``data.time_column``."""
        times: list[Any] | None = self._json("times.json")
        return times

    def report(self) -> dict[str, Any]:
        """What the import found; empty where there was none."""
        return self._json("report.json") or {}

    def _json(self, name: str) -> Any:
        path = self.root / name if self.root is not None else None
        return json.loads(path.read_text("utf-8")) if path is not None and path.exists() else None


def load_image_folder(root: Path) -> ImageFolder:
    """The dataset in ``root``; InvalidData with every problem when it cannot be trained on."""
    problems: list[str] = []
    images = _read(problems, "images.npy", lambda: np.load(root / "images.npy", mmap_mode="c", allow_pickle=False))
    labels = _read(problems, "labels.npy", lambda: np.load(root / "labels.npy", allow_pickle=False))
    classes = _read(problems, "classes.json", lambda: json.loads((root / "classes.json").read_text("utf-8")))
    parts = _read(problems, "parts.npy", lambda: np.load(root / "parts.npy", allow_pickle=False)) if (root / "parts.npy").exists() else None
    problems += _check_images(images) + _check_classes(classes) + _check_labels(labels, images, classes) + _check_parts(parts, labels)
    if problems or images is None or labels is None or classes is None:
        raise InvalidData(problems)
    named = None if parts is None else [PARTS[part] for part in parts.tolist()]
    return ImageFolder(images=images, labels=labels.astype(np.int64), classes=tuple(classes), parts=named, root=root)


def _read(problems: list[str], name: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except FileNotFoundError:
        problems.append(f"{name} is missing")
    except (OSError, ValueError, EOFError) as error:
        problems.append(f"{name} cannot be read: {error}")
    return None


def _check_images(images: Array | None) -> list[str]:
    if images is None:
        return []
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        return [f"images.npy must be uint8 with 3 or 4 axes, not {images.dtype} with shape {images.shape}"]
    problems = []
    if min(images.shape[1:3]) < MIN_PIXELS:
        problems.append(f"images must be at least {MIN_PIXELS} x {MIN_PIXELS} pixels, not {images.shape[1]} x {images.shape[2]}")
    if images.ndim == 4 and not 1 <= images.shape[3] <= MAX_CHANNELS:
        problems.append(f"images must have 1 to {MAX_CHANNELS} channels in the last axis, not {images.shape[3]}")
    return problems


def _check_classes(classes: object) -> list[str]:
    if classes is None:
        return []
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return ["classes.json must be a list of names"]
    if not 2 <= len(classes) <= MAX_CLASSES or len(set(classes)) != len(classes):
        return [f"classes.json must hold 2 to {MAX_CLASSES} different names"]
    return []


def _check_labels(labels: Array | None, images: Array | None, classes: object) -> list[str]:
    if labels is None:
        return []
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        return [f"labels.npy must be integers with one axis, not {labels.dtype} with shape {labels.shape}"]
    if not len(labels):
        return ["labels.npy is empty"]
    problems = []
    if images is not None and images.ndim > 0 and len(labels) != len(images):
        problems.append(f"there are {len(labels)} labels for {len(images)} images")
    if isinstance(classes, list) and classes:
        problems += _check_counts(labels, classes)
    return problems


def _check_counts(labels: Array, classes: list[Any]) -> list[str]:
    """How many of each class are needed is for the splits to say."""
    if labels.min() < 0 or labels.max() >= len(classes):
        return [f"labels run from {labels.min()} to {labels.max()}, but there are {len(classes)} classes (0 to {len(classes) - 1})"]
    return []


def _check_parts(parts: Array | None, labels: Array | None) -> list[str]:
    if parts is None or labels is None:
        return []
    if parts.shape != labels.shape or not np.issubdtype(parts.dtype, np.integer):
        return [f"parts.npy must be integers, one for each label, not {parts.dtype} with shape {parts.shape}"]
    if len(parts) and (parts.min() < 0 or parts.max() >= len(PARTS)):
        return [f"parts.npy must hold 0 (none), 1 (train), 2 (validation) and 3 (test), not {parts.min()} to {parts.max()}"]
    return []
