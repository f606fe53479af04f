"""A prepared dataset written in the format of its source, splits by the names of files and folders. The same rows give the same bytes."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.manifest import check_relative_path
from trainer.data.images.decode import Unusable
from trainer.data.images.edit import edited
from trainer.data.images.listing import Listing
from trainer.errors import InvalidData
from trainer.prepare.frame import Frame, is_text, plain
from trainer.prepare.images import Entries, Entry
from trainer.profile.files import MOST_LISTED
from trainer.tools.telling import Tell

SPLITS = ("train", "validation", "test")
BATCH = 4096  # rows that are Python objects at once


def write_frame(frame: Frame, suffix: str, folder: Path) -> dict[str, int]:
    """Rows per split. ``train``, ``validation`` and ``test`` with the suffix of the source, or ``data`` where there are no splits."""
    writer = WRITERS[suffix]
    if not any(frame.parts):
        writer(frame.table, folder / f"data{suffix}")
        return {"all": frame.num_rows}
    sizes = {}
    for split in SPLITS:
        rows = np.flatnonzero([(part or "train") == split for part in frame.parts])
        if len(rows):
            writer(frame.take(rows).table, folder / f"{split}{suffix}")
            sizes[split] = len(rows)
    return sizes


def _write_delimited(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t", lineterminator="\n")
        writer.writerow(table.column_names)
        for batch in table.to_batches(BATCH):
            columns = [batch.column(number).to_pylist() for number in range(batch.num_columns)]
            writer.writerows([[plain(cell) for cell in row] for row in zip(*columns, strict=True)])


def _write_json_lines(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for batch in table.to_batches(BATCH):
            file.writelines(_as_json(record) + "\n" for record in batch.to_pylist())


def _write_json(table: pa.Table, path: Path) -> None:
    path.write_text("[\n" + ",\n".join(map(_as_json, table.to_pylist())) + "\n]\n", "utf-8")


def _as_json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def _write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    ".csv": _write_delimited,
    ".tsv": _write_delimited,
    ".tab": _write_delimited,
    ".jsonl": _write_json_lines,
    ".ndjson": _write_json_lines,
    ".json": _write_json,
    ".parquet": _write_parquet,
    ".pq": _write_parquet,
}


def still_named(before: Frame, after: Frame, files: dict[str, Path]) -> dict[str, Path]:
    """Without the recordings or images that rows named which are gone."""
    gone = _named_in(before, files) - _named_in(after, files)
    return {name: path for name, path in files.items() if name not in gone}


def _named_in(frame: Frame, files: dict[str, Path]) -> set[str]:
    texts = (name for name in frame.table.column_names if is_text(frame.table, name))
    return {cell for name in texts for cell in frame.cells(name) if cell in files}


def copy_beside(files: dict[str, Path], folder: Path) -> None:
    for name, path in files.items():
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


def write_images(entries: dict[str, Entry], listing: Listing, folder: Path, tell: Tell) -> dict[str, int]:
    """Rows per split. ``entries`` by the name of their file. InvalidData with all images that cannot be read."""
    problems = []
    for number, (name, entry) in enumerate(entries.items()):
        tell(number, len(entries))
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.write_bytes(content_of(entry, listing))
        except Unusable as error:
            problems.append(f"{listing.files[entry.position]}: {error}")
    if problems:
        raise InvalidData(problems[:MOST_LISTED])
    has_splits = any(entry.part for entry in entries.values())
    sizes = Counter((entry.part or "train") if has_splits else "all" for entry in entries.values())
    return {split: sizes[split] for split in (*SPLITS, "all") if sizes[split]}


def content_of(entry: Entry, listing: Listing) -> bytes:
    """An image that no step changed keeps its bytes. Raises Unusable."""
    content = listing.read(entry.position)
    if entry.edits is not None:
        return edited(content, entry.edits)
    assert isinstance(content, bytes)
    return content


def names_of(entries: Entries, listing: Listing) -> list[str]:
    """``split/class/name``, or ``class/name``; a name that is taken gets a number."""
    has_splits = any(entry.part for entry in entries)
    taken: set[str] = set()
    names = []
    for entry in entries:
        own = listing.files[entry.position].replace("\\", "/").rpartition("/")[2]
        stem, dot, suffix = own.rpartition(".")
        suffix = f"{dot}{suffix}" if entry.edits is None else ".png"
        start = [entry.part or "train"] if has_splits else []
        name, number = "/".join([*start, entry.label, f"{stem}{suffix}"]), 1
        while name.casefold() in taken:
            number += 1
            name = "/".join([*start, entry.label, f"{stem}-{number}{suffix}"])
        taken.add(name.casefold())
        names.append(name)
    return names
