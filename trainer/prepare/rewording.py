"""Changed copies of texts, and columns under other names."""

import pyarrow as pa
import torch

from core.recipes.dataset_preparation import Augment, MapColumns, TextAugmentation
from trainer.determinism import generator
from trainer.prepare.frame import Done, Frame, training_rows

_TEXT_STREAM = 0x7C


def augment_texts(frame: Frame, step: Augment, *, seed: int) -> Done:
    """The copies of all training rows stand behind the originals, first all first copies."""
    assert step.text is not None
    rows = [row for row, counts in enumerate(training_rows(frame.parts)) if counts]
    name, cells = step.text.column, frame.cells(step.text.column)
    before = frame
    for copy in range(step.copies):
        texts = [
            None if cells[row] is None else reworded(str(cells[row]), step.text, generator(seed, _TEXT_STREAM, copy, row)) for row in rows
        ]
        copies = before.table.take(pa.array(rows, pa.int64()))
        kind = before.table.schema.field(name).type
        copies = copies.set_column(copies.column_names.index(name), name, pa.array(texts, kind))
        frame = frame.append(copies, [before.parts[row] for row in rows])
    return Done(frame, num_changed=step.copies * len(rows))


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
    names = [name for name in frame.table.column_names if name not in (step.drop or ())] if step.keep is None else list(step.keep)
    table = frame.table.select(names).rename_columns([step.rename.get(name, name) for name in names])
    return Done(Frame(table, frame.parts))
