"""The rows of a dataset that a predictor answers, one after the other: of tables, lines of texts, or files. Nothing is held but a few."""

import itertools
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.manifest import MANIFEST
from trainer.data.findings import Findings
from trainer.data.images.by_class import read_file, read_member
from trainer.data.images.decode import Unusable
from trainer.data.layout import part_of
from trainer.data.table import READERS, Where, listed
from trainer.data.text.columns import PLAIN
from trainer.data.text_lines import TextLines, sound_text
from trainer.errors import InvalidData
from trainer.predict.predictor import Predictor, Record, usual_column

ARRAYS = "images.npy"
MOST_LOOKED_AT = 256  # records of a file in which a needed column must be found
HIDDEN = (".", "__MACOSX")


@dataclass(frozen=True, slots=True)
class Row:
    """``row`` is the number of a line or record in its ``file``, from 1; None for a file that is a row by itself.

    ``part`` is the split that a name or the split column says. A row with a ``problem`` has no record of use.
    """

    file: str
    row: int | None
    record: Record
    part: str | None = None
    problem: str | None = None

    @property
    def where(self) -> Where | dict[str, str]:
        """For ``Findings``."""
        return {"file": self.file} if self.row is None else {"file": self.file, "row": self.row}


class _Noted(Findings):
    """Bad rows wait here until they are handed on in their place; what is fatal ends the reading."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Row] = []

    def bad_row(self, what: str, *, file: str | None = None, row: int | None = None, column: str | None = None) -> None:
        problem = what if column is None else f"column {column}: {what}"
        self.waiting.append(Row(file or "", row, {}, problem=problem))

    def take(self) -> list[Row]:
        taken, self.waiting = self.waiting, []
        return taken


def rows_of(root: Path, predictor: Predictor, *, split_column: str = "split") -> Iterator[Row]:
    """In the order of the names of files, and within each as it stands there. Raises InvalidData for what no row can be blamed for."""
    root = predictor.table_of(root)
    if predictor.reads_arrays and (root / ARRAYS).is_file():
        yield from _rows_of_array(root, predictor)
        return
    base = root if root.is_dir() else root.parent
    for suffixes, read in (
        (predictor.tables, _rows_of_table),
        ((*predictor.content_suffixes, ".zip") if predictor.content_suffixes else (), _rows_of_content),
        (PLAIN if predictor.takes_lines else (), _rows_of_lines),
    ):
        files = [path for path in _files(root) if path.name.lower().endswith(suffixes) and path.name not in predictor.ignored_names]
        for path in files if suffixes else ():
            part = _part(path, base)
            for row in read(path, base, predictor):
                own = row.record.get(split_column)
                yield Row(row.file, row.row, row.record, part or (part_of(str(own).strip()) if own is not None else None), row.problem)
        if files and suffixes:
            return
    kinds = (*predictor.tables, *predictor.content_suffixes, *(PLAIN if predictor.takes_lines else ()))
    raise InvalidData([f"{root.name} holds nothing that this model reads: no file ends in {', '.join(kinds)}"])


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    found = sorted(path for path in root.rglob("*") if path.is_file() and path.name != MANIFEST)
    return [path for path in found if not any(step.startswith(HIDDEN) for step in path.relative_to(root).parts)]


def _part(path: Path, base: Path) -> str | None:
    """The split that the file's own name says, or its outermost folder's."""
    return part_of(path.relative_to(base).parts[0])


def _rows_of_table(path: Path, base: Path, predictor: Predictor) -> Iterator[Row]:
    name, noted = path.relative_to(base).as_posix(), _Noted()
    records = READERS[path.suffix.lower()](path, name, noted)
    first = list(itertools.islice(records, MOST_LOOKED_AT))
    noted.settle("drop")
    _check_columns(name, [record for _, record in first], predictor)
    waiting = sorted(noted.take(), key=lambda row: row.row or 0)
    for number, record in itertools.chain(first, records):
        waiting += noted.take()
        while waiting and (waiting[0].row or 0) < number:
            yield waiting.pop(0)
        yield _with_content(Row(name, number, record), path, base, predictor) if predictor.content_suffixes else Row(name, number, record)
    yield from waiting + noted.take()
    noted.settle("drop")


def _check_columns(name: str, records: list[Record], predictor: Predictor) -> None:
    columns = list(dict.fromkeys(column for record in records for column in record))
    missing = [column for column in predictor.needed_columns if column not in columns]
    if records and missing:
        raise InvalidData([f"{name}: there is no column {listed(missing)}; the columns are {listed(columns)}"])


def _with_content(row: Row, path: Path, base: Path, predictor: Predictor) -> Row:
    """The bytes that a cell names, or has, in ``content_column``."""
    column = usual_column(row.record, predictor.content_column, predictor.content_names)
    if column is None:
        return Row(row.file, row.row, {}, problem=f"there is no column {predictor.content_column!r}")
    try:
        return Row(row.file, row.row, {**row.record, predictor.content_column: _content(row.record[column], path, base)})
    except Unusable as error:
        return Row(row.file, row.row, {}, problem=f"column {column}: {error}")


def _content(cell: Any, table: Path, base: Path) -> bytes:
    """What a cell holds, or the file that it names as seen from the table or from the root, below which it must lie. Raises Unusable."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return cell
    if not isinstance(cell, str) or not cell.strip():
        raise Unusable("it names no file")
    steps = posixpath.normpath(cell.strip().replace("\\", "/"))
    found = next((folder / steps for folder in (table.parent, base) if (folder / steps).is_file()), None)
    if found is None:
        raise Unusable(f"there is no file {cell!r}")
    if not found.resolve().is_relative_to(base.resolve()):
        raise Unusable(f"{cell!r} leads out of the dataset")
    return read_file(found)


def _rows_of_content(path: Path, base: Path, predictor: Predictor) -> Iterator[Row]:
    name = path.relative_to(base).as_posix()
    if path.suffix.lower() == ".zip":
        yield from _rows_of_archive(path, name, predictor)
        return
    try:
        yield Row(name, None, {predictor.content_column: read_file(path)})
    except Unusable as error:
        yield Row(name, None, {}, problem=str(error))


def _rows_of_archive(path: Path, name: str, predictor: Predictor) -> Iterator[Row]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidData([f"{name}: it cannot be read: {error}"]) from None
    with archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            hidden = any(step.startswith(HIDDEN) for step in info.filename.split("/"))
            if hidden or not info.filename.lower().endswith(predictor.content_suffixes):
                continue
            file = f"{name}/{info.filename}"
            try:
                yield Row(file, None, {predictor.content_column: read_member(archive, info)})
            except Unusable as error:
                yield Row(file, None, {}, problem=str(error))


def _rows_of_lines(path: Path, base: Path, predictor: Predictor) -> Iterator[Row]:
    """Those that are not blank."""
    name, noted = path.relative_to(base).as_posix(), _Noted()
    if sound_text(path, name, noted):
        with path.open("rb") as file:
            lines = TextLines(file)
            for number, line in enumerate(lines, 1):
                if damage := lines.take_damage():
                    yield Row(name, number, {}, problem=damage)
                elif line.strip():
                    yield Row(name, number, {"text": line.strip("\r\n")})
    noted.settle("drop")


def _rows_of_array(root: Path, predictor: Predictor) -> Iterator[Row]:
    try:
        images = np.load(root / ARRAYS, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidData([f"{ARRAYS} cannot be read: {error}"]) from None
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InvalidData([f"{ARRAYS} must be uint8 with 3 or 4 axes, not {images.dtype} with shape {images.shape}"])
    for number, image in enumerate(images):
        yield Row(ARRAYS, number, {predictor.content_column: np.ascontiguousarray(image)})
