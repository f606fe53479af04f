"""Changed copies of texts, and columns under other names."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from core.recipes.dataset_preparation import Augment, MapColumns
from core.recipes.preparable import renamed
from core.recipes.sections.augmentations import TextAugmentation
from trainer.determinism import generator
from trainer.prepare.frame import Done, Frame, Rows, training_rows

_TEXT_STREAM = 0x7C


def augment_texts(frame: Frame, step: Augment, *, seed: int) -> Done:
    """The copies of a training row stand behind it."""
    assert step.text is not None
    how = step.text

    def change(cell: Any, copy: int, row: int) -> Any:
        return None if cell is None else reworded(str(cell), how, generator(seed, _TEXT_STREAM, copy, row))

    after = with_copies(frame, how.column, change, training_rows(frame.parts), num=step.copies)
    return Done(after, num_changed=after.num_rows - frame.num_rows)


def with_copies(frame: Frame, name: str, change: Callable[[Any, int, int], Any], copied: Any, *, num: int) -> Frame:
    """``num`` copies behind each row that is ``copied``; ``change(cell, copy, row)``, both from 0, gives what a copy has in ``name``."""
    repeats = np.where(copied, num + 1, 1)
    rows: Rows = np.repeat(np.arange(frame.num_rows, dtype=np.int64), repeats)
    copies = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)  # 0 for an original

    def changed(cells: pa.ChunkedArray, start: int) -> pa.Array:
        def new() -> Iterator[Any]:
            for place, cell in enumerate(cells.to_pylist(), start):
                yield cell if not copies[place] else change(cell, int(copies[place]) - 1, int(rows[place]))

        return pa.array(list(new()), frame.kind(name))

    return frame.take(rows).replace(name, frame.kind(name), changed)


def reworded(text: str, how: TextAugmentation, random: torch.Generator) -> str:
    """Words are what stands between spaces; one space stands between them afterwards."""
    words = text.split()
    if len(words) > 1 and how.swap:
        for _ in range(max(1, round(how.swap * len(words) / 2))):
            first, second = torch.randperm(len(words), generator=random)[:2].tolist()
            words[first], words[second] = words[second], words[first]
    if words and how.dropout:
        stays = (torch.rand(len(words), generator=random, dtype=torch.float64) >= how.dropout).tolist()
        at_least = int(torch.randint(len(words), (1,), generator=random))
        words = [word for position, word in enumerate(words) if stays[position]] or [words[at_least]]
    return " ".join(words)


def map_columns(frame: Frame, step: MapColumns) -> Done:
    return Done(frame.select(dict(renamed(step, frame.names))))
