"""The images of a dataset before any is decoded: what each is called, where it stands, its class, its split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Content = bytes | npt.NDArray[np.uint8]
Label = str | int


def _nothing(position: int) -> Content:
    raise IndexError(position)


@dataclass(slots=True)
class Listing:
    """``read`` gives an image's bytes, or its pixels, by position; it raises ``decode.Unusable``.

    ``rows`` are 0 for a file with one image.
    """

    labels: list[Label] = field(default_factory=list)
    parts: list[str | None] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    names: dict[Label, str] = field(default_factory=dict)  # of classes that are numbers
    groups: list[Any] | None = None  # cells of the columns that a split by group or time goes by
    times: list[Any] | None = None
    read: Callable[[int], Content] = _nothing

    def add(self, label: Label, *, part: str | None, file: str, row: int = 0) -> None:
        self.labels.append(label)
        self.parts.append(part)
        self.files.append(file)
        self.rows.append(row)

    def __len__(self) -> int:
        return len(self.labels)


def in_order(labels: Sequence[Label]) -> list[Label]:
    """The different ones; numbers, also written out, by their value, everything else by its letters."""
    different = set(labels)
    if all(isinstance(label, int) or label.isdecimal() for label in different):
        return sorted(different, key=lambda label: (int(label), str(label)))
    return sorted(different, key=str)
