"""Prepared rows written in the format of their source, splits by the names of files and folders. The same rows give the same bytes."""

import csv
import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.manifest import check_relative_path
from trainer.errors import InvalidData
from trainer.prepare.frame import Frame, plain
from trainer.prepare.spooling import Tick
from trainer.profile.files import MOST_LISTED

SPLITS = ("train", "validation", "test")
GROUP_ROWS, GROUP_BYTES = 1 << 16, 1 << 23  # of a parquet file; a row group is in memory before it is written


class Writer(Protocol):
    """One file: opened with the columns, given rows in their order, closed."""

    def __init__(self, path: Path, schema: pa.Schema) -> None: ...
    def write(self, rows: pa.Table) -> None: ...
    def close(self) -> None: ...


class _Delimited:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, delimiter="," if path.suffix == ".csv" else "\t", lineterminator="\n")
        self._writer.writerow(schema.names)

    def write(self, rows: pa.Table) -> None:
        columns = [column.to_pylist() for column in rows.columns]
        self._writer.writerows([[plain(cell) for cell in row] for row in zip(*columns, strict=True)])

    def close(self) -> None:
        self._file.close()


class _JsonLines:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, rows: pa.Table) -> None:
        self._file.writelines(_as_json(record) + "\n" for record in rows.to_pylist())

    def close(self) -> None:
        self._file.close()


class _Json:
    """A list of objects, one a line."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file, self._before = path.open("w", encoding="utf-8"), "[\n"

    def write(self, rows: pa.Table) -> None:
        for record in rows.to_pylist():
            self._file.write(self._before + _as_json(record))
            self._before = ",\n"

    def close(self) -> None:
        self._file.write("\n]\n")
        self._file.close()


def _as_json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


class _Parquet:
    """In row groups that are large enough to be read fast and small enough to be held."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema)
        self._waiting: list[pa.Table] = []
        self._num_rows = self._num_bytes = 0

    def write(self, rows: pa.Table) -> None:
        self._waiting.append(rows)
        self._num_rows += rows.num_rows
        self._num_bytes += rows.nbytes
        if self._num_rows >= GROUP_ROWS or self._num_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=self._num_rows)
        self._waiting, self._num_rows, self._num_bytes = [], 0, 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


WRITERS: dict[str, type[Writer]] = {
    ".csv": _Delimited,
    ".tsv": _Delimited,
    ".tab": _Delimited,
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
    ".json": _Json,
    ".parquet": _Parquet,
    ".pq": _Parquet,
}


def write_frame(frame: Frame, suffix: str, folder: Path, *, stem: str = "data") -> dict[str, int]:
    """Rows per split. ``train``, ``validation`` and ``test`` with the suffix of the source, or ``stem`` where there are no splits."""
    sizes = sizes_of(frame)
    names = {split: stem if split == "all" else split for split in sizes}
    with ExitStack() as closing:
        writers = {split: WRITERS[suffix](folder / f"{name}{suffix}", frame.schema) for split, name in names.items()}
        for writer in writers.values():
            closing.callback(writer.close)
        start = 0
        for batch in frame.read(None):
            for split, rows in rows_by_split(frame, sizes, start, batch.num_rows).items():
                writers[split].write(batch.take(pa.array(rows, pa.int64())) if len(rows) < batch.num_rows else batch)
            start += batch.num_rows
    return sizes


def sizes_of(frame: Frame) -> dict[str, int]:
    """Rows per split of those that have any; ``all`` where there are no splits."""
    if not any(frame.parts):
        return {"all": frame.num_rows}
    counts = {split: frame.parts.count(split) for split in SPLITS}
    counts["train"] += frame.parts.count(None)
    return {split: num for split, num in counts.items() if num}


def rows_by_split(frame: Frame, sizes: dict[str, int], start: int, num: int) -> dict[str, Any]:
    """Of the ``num`` rows from ``start`` on: the places in the batch that each split has, where it has any."""
    if "all" in sizes:
        return {"all": np.arange(num)}
    parts = np.array([part or "train" for part in frame.parts[start : start + num]])
    found = {split: np.flatnonzero(parts == split) for split in sizes}
    return {split: rows for split, rows in found.items() if len(rows)}


def still_named(before: Frame, after: Frame, files: dict[str, Path]) -> dict[str, Path]:
    """Without the recordings or images that rows named which are gone."""
    if not files:
        return {}
    gone = _named_in(before, files) - _named_in(after, files)
    return {name: path for name, path in files.items() if name not in gone}


def _named_in(frame: Frame, files: dict[str, Path]) -> set[str]:
    texts = [name for name in frame.names if frame.is_text(name)]
    return {cell for name in texts for cell in frame.cells(name) if cell in files}


def copy_beside(files: dict[str, Path], folder: Path, tick: Tick) -> None:
    for name, path in files.items():
        tick()
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def check_names(names: list[str]) -> None:
    """InvalidData with all that a dataset's files cannot be called."""
    problems = []
    for name in names:
        try:
            check_relative_path(name)
        except ValueError as error:
            problems.append(f"{name!r} cannot be kept: {error}")
    if problems:
        raise InvalidData(problems[:MOST_LISTED])
