"""Steps on plain text and CoNLL columns, where a blank line is nothing twice, and a document may be what is drawn, divided or dropped."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.recipes.dataset_preparation import DropDuplicates, DropMissing, Sample, Split
from trainer.errors import InvalidData
from trainer.prepare.choosing import sample_rows, split_parts
from trainer.prepare.cleaning import KEY_BYTES, distinct, key_of
from trainer.prepare.frame import Done, Frame, Parts, Rows
from trainer.prepare.lines import OF_DOCUMENT, TEXT


@dataclass(frozen=True, slots=True)
class Units:
    """``of_rows``: the number of each row's unit, from 0; ``parts``: the split of each unit."""

    of_rows: Rows
    parts: Parts


def units_of(frame: Frame, unit: str) -> Units:
    if unit == "row":
        return Units(np.arange(frame.num_rows, dtype=np.int64), frame.parts)
    documents = np.fromiter(frame.cells(OF_DOCUMENT), dtype=np.int64, count=frame.num_rows)
    first, of_rows = np.unique(documents, return_index=True, return_inverse=True)[1:]
    return Units(of_rows, [frame.parts[row] for row in first.tolist()])


def drop_duplicates(frame: Frame, step: DropDuplicates) -> Done:
    """Blank lines are never equal to one another: they tell paragraphs apart."""
    units = units_of(frame, step.unit)
    kept = distinct(_keys(frame, units) if step.unit == "document" else _keys_of_rows(frame), units.parts)
    return _keeping(frame, units, kept)


def _keys_of_rows(frame: Frame) -> Iterator[bytes]:
    for number, row in enumerate(frame.rows([name for name in frame.names if name != OF_DOCUMENT])):
        is_blank = frame.names[0] == TEXT and not row[0].strip()
        yield key_of(f"blank {number}" if is_blank else repr(row))


def _keys(frame: Frame, units: Units) -> Iterator[bytes]:
    """Of documents: one after the other, as their rows stand; blank lines do not count."""
    names = [name for name in frame.names if name != OF_DOCUMENT]
    is_text, before = names[0] == TEXT, 0
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for number, row in zip(units.of_rows.tolist(), frame.rows(names), strict=True):
        if number != before:
            yield digest.digest()
            before, digest = number, hashlib.blake2b(digest_size=KEY_BYTES)
        if not is_text or row[0].strip():
            digest.update(repr(row).encode("utf-8", "surrogatepass"))
    if len(units.parts):
        yield digest.digest()


def drop_blank(frame: Frame, step: DropMissing) -> Done:
    """Blank lines; or documents that have no others."""
    units = units_of(frame, step.unit)
    has_text = np.zeros(len(units.parts), dtype=bool)
    for number, text in zip(units.of_rows.tolist(), frame.cells(TEXT), strict=True):
        has_text[number] |= bool(text.strip())
    return _keeping(frame, units, np.flatnonzero(has_text))


def split(frame: Frame, step: Split, *, seed: int) -> Done:
    """By time: the last ones are tested on."""
    units = units_of(frame, step.unit)
    parts = split_parts(len(units.parts), step, list(range(len(units.parts))) if step.by == "time" else None, seed=seed)
    of_rows: Parts = [parts[number] for number in units.of_rows.tolist()]
    sizes = {name: of_rows.count(name) for name in ("train", "validation", "test")}
    return Done(Frame(frame.schema, of_rows, frame.read), num_changed=frame.num_rows, fitted={"rows": sizes})


def sample(frame: Frame, step: Sample, *, seed: int) -> Done:
    units = units_of(frame, step.unit)
    return _keeping(frame, units, sample_rows(units.parts, None, step, seed=seed))


def _keeping(frame: Frame, units: Units, kept: Rows) -> Done:
    stays = np.zeros(len(units.parts), dtype=bool)
    stays[kept] = True
    rows = np.flatnonzero(stays[units.of_rows])
    if not len(rows):
        raise InvalidData(["no row is left"])
    return Done(frame.take(rows), num_changed=frame.num_rows - len(rows))
