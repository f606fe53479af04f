"""Prepared lines and sentences written again: one file for each split, or, where documents were files, one for each of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from trainer.data.layout import part_of
from trainer.data.tagged import DOCUMENT
from trainer.prepare.frame import Frame
from trainer.prepare.lines import BETWEEN, OF_DOCUMENT, TAGS, TEXT, WORDS, Documents
from trainer.prepare.writing import SPLITS, rows_by_split, sizes_of


def write_documents(frame: Frame, suffix: str, folder: Path, documents: Documents) -> dict[str, int]:
    """Rows per split. Text is UTF-8, and its lines end in one line feed."""
    sizes = sizes_of(frame)
    files = {split: _File(folder, names_of(split, suffix, documents), is_marked=documents.is_marked) for split in sizes}
    try:
        start = 0
        for batch in frame.read(None):
            for split, rows in rows_by_split(frame, sizes, start, batch.num_rows).items():
                files[split].write(batch.take(pa.array(rows, pa.int64())))
            start += batch.num_rows
    finally:
        for file in files.values():
            file.close()
    return sizes


def all_names(sizes: dict[str, int], suffix: str, documents: Documents) -> list[str]:
    return [name for split in sizes for name in names_of(split, suffix, documents)]


def names_of(split: str, suffix: str, documents: Documents) -> list[str]:
    """The file of each document, without the folder of an old split; a name that is taken gets a number. One where all share one."""
    if documents.files is None:
        return [f"{'data' if split == 'all' else split}{suffix}"]
    names: dict[str, str] = {}
    for file in documents.files:
        first, slash, rest = file.partition("/")
        own = rest if slash and part_of(first) is not None else file
        stem, dot, end = own.rpartition(".")
        name, turn = own, 1
        while name.casefold() in names:
            turn += 1
            name = f"{stem}-{turn}{dot}{end}"
        names[name.casefold()] = name if split not in SPLITS else f"{split}/{name}"
    return list(names.values())


class _File:
    """What is written of one split: documents come one after the other, so that one file is open at a time."""

    def __init__(self, folder: Path, names: list[str], *, is_marked: bool) -> None:
        self._folder, self._names, self._is_marked = folder, names, is_marked
        self._document: int | None = None
        self._name: str | None = None
        self._file: IO[str] | None = None

    def write(self, rows: pa.Table) -> None:
        for record in rows.to_pylist():
            file = self._of(record[OF_DOCUMENT])
            file.writelines(_lines_of(record))

    def _of(self, document: int) -> IO[str]:
        name = self._names[document if len(self._names) > 1 else 0]
        if name != self._name:
            self.close()
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._name, self._file = name, path.open("w", encoding="utf-8", newline="")
        assert self._file is not None
        if self._is_marked and document != self._document:
            self._file.write(f"{DOCUMENT}\tO\n\n")
        self._document = document
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lines_of(record: dict[str, Any]) -> Iterator[str]:
    """A line of text; or a line for each word, and a blank one."""
    if TEXT in record:
        yield f"{record[TEXT]}\n"
        return
    for cells in zip(record[WORDS], record[BETWEEN], record[TAGS], strict=True):
        yield "\t".join(cell for cell in cells if cell) + "\n"
    yield "\n"
