"""A materialised image dataset: ``images.npy`` (uint8, N x H x W or N x H x W x C), ``labels.npy`` (integers, N), ``classes.json`` (names).

Memory-mapped, so that every rank of a node shares one copy. All that is wrong is said at once.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from trainer.errors import InvalidData

MIN_PER_CLASS = 3  # one for each of training, validation and test
MIN_PIXELS = 4  # two halvings must leave something
MAX_CHANNELS = 16
MAX_CLASSES = 100_000

Array = npt.NDArray[Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """``images`` stay on disk until they are asked for; ``labels`` are int64 in memory."""

    images: Array
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def num_channels(self) -> int:
        return int(self.images.shape[3]) if self.images.ndim == 4 else 1


def load_image_folder(root: Path) -> ImageFolder:
    """The dataset in ``root``; InvalidData with every problem when it cannot be trained on."""
    problems: list[str] = []
    images = _read(problems, "images.npy", lambda: np.load(root / "images.npy", mmap_mode="c", allow_pickle=False))
    labels = _read(problems, "labels.npy", lambda: np.load(root / "labels.npy", allow_pickle=False))
    classes = _read(problems, "classes.json", lambda: json.loads((root / "classes.json").read_text("utf-8")))
    problems += _check_images(images) + _check_classes(classes) + _check_labels(labels, images, classes)
    if problems or images is None or labels is None or classes is None:
        raise InvalidData(problems)
    return ImageFolder(images=images, labels=labels.astype(np.int64), classes=tuple(classes))


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
    if labels.min() < 0 or labels.max() >= len(classes):
        return [f"labels run from {labels.min()} to {labels.max()}, but there are {len(classes)} classes (0 to {len(classes) - 1})"]
    counts = np.bincount(labels.astype(np.int64), minlength=len(classes))
    return [
        f"class {name!r} has {count} images; at least {MIN_PER_CLASS} are needed"
        for name, count in zip(classes, counts, strict=True)
        if count < MIN_PER_CLASS
    ]
