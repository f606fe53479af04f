"""Recordings and their texts, as a table lists them, in a folder or in a .zip; none is decoded here."""

import posixpath
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.recipes.speech_recognition import Data
from trainer.data.audio import Unusable
from trainer.data.cells import is_missing
from trainer.data.findings import Findings
from trainer.data.layout import find_parts
from trainer.data.table import READERS, Table, listed, read_table

AUDIO_NAMES = ("file_name", "file", "filename", "path", "audio", "wav", "audio_path")
TEXT_NAMES = ("text", "transcription", "transcript", "sentence", "normalized_text")
MAX_TABLE_BYTES = 1 << 30
MAX_RECORDING_BYTES = 1 << 30

Read = Callable[[str], bytes]


@dataclass(slots=True)
class Listing:
    """One entry per utterance; ``names`` are paths below the root, ``files`` and ``rows`` are where the table has it."""

    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    parts: list[str | None] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    groups: list[Any] | None = None
    times: list[Any] | None = None
    contents: dict[str, bytes] = field(default_factory=dict)  # of recordings that stand in the table itself


def open_source(root: Path, findings: Findings) -> tuple[Path, Read]:
    """A folder, or the one .zip in it, or a .zip: where its tables can be read, and how a file of it is."""
    archives = find_parts(root, (".zip",)).get("all", []) if root.is_file() or not find_parts(root, tuple(READERS)) else []
    if len(archives) != 1:
        return root, lambda name: _read_file((root if root.is_dir() else root.parent) / name)
    try:
        archive = zipfile.ZipFile(archives[0])
    except (zipfile.BadZipFile, OSError) as error:
        findings.fatal(f"it is not a readable zip archive: {error}", file=archives[0].name)
        return root, _read_nothing
    folder = Path(tempfile.mkdtemp(prefix="tables-"))
    for member in archive.infolist():
        if member.filename.lower().endswith(tuple(READERS)) and _is_inside(member.filename) and member.file_size <= MAX_TABLE_BYTES:
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
    return folder, lambda name: _read_member(archive, name)


def list_speech(root: Path, knobs: Data, findings: Findings) -> tuple[Listing, Read]:
    """What can be trained on as far as the table tells; the rest are findings."""
    folder, read = open_source(root, findings)
    table = read_table(folder, findings, split_column=knobs.split_column)
    audio = choose(table, "audio", knobs.audio_column, AUDIO_NAMES, findings)
    text = choose(table, "text", knobs.text_column, TEXT_NAMES, findings)
    listing = Listing()
    if audio is None or text is None or findings.has_fatal:
        return listing, read
    kept = []
    for position in range(table.num_rows):
        cell, written = table.columns[audio][position], normalised(table.columns[text][position], lowercase=knobs.lowercase)
        name = _name_of(cell, table.files[position], position)
        if name is None or not written:
            what, column = ("it names no recording inside the dataset", audio) if name is None else ("it is empty", text)
            findings.bad_row(what, **table.where(position), column=column)
            continue
        kept.append(position)
        listing.names.append(name)
        listing.texts.append(written)
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if isinstance(content, bytes):
            listing.contents[name] = content
    listing.parts = [table.parts[row] for row in kept]
    listing.files, listing.rows = [table.files[row] for row in kept], [table.rows[row] for row in kept]
    listing.groups = _cells(table, knobs.group_column if knobs.split == "group" else None, kept, findings)
    listing.times = _cells(table, knobs.time_column if knobs.split == "time" else None, kept, findings)
    return listing, lambda name: listing.contents[name] if name in listing.contents else read(name)


def choose(table: Table, kind: str, asked: str | None, names: Sequence[str], findings: Findings) -> str | None:
    if asked is not None:
        table.column(asked, findings)
        return asked if asked in table.columns else None
    by_name = {name.strip().lower(): name for name in table.columns}
    found = next((by_name[name] for name in names if name in by_name), None)
    if found is None and table.columns:
        findings.fatal(f"no column is named like {kind} ({', '.join(names)}); say data.{kind}_column. There are {listed(table.columns)}")
    return found


def normalised(cell: Any, *, lowercase: bool) -> str:
    """One space between words, one way to encode each letter."""
    if is_missing(cell):
        return ""
    text = " ".join(unicodedata.normalize("NFKC", str(cell)).split())
    return text.lower() if lowercase else text


def _name_of(cell: Any, table_file: str, position: int) -> str | None:
    """The path of a recording below the root, seen from its table; a made-up name for one that stands in the table."""
    if isinstance(cell, bytes) or (isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes)):
        return f"{table_file}:{position}"
    path = cell.get("path") if isinstance(cell, dict) else cell
    if is_missing(path) or not isinstance(path, str):
        return None
    name = posixpath.normpath(posixpath.join(posixpath.dirname(table_file), path.strip().replace("\\", "/")))
    return name if _is_inside(name) else None


def _is_inside(name: str) -> bool:
    return not name.startswith(("/", "../")) and name != ".." and "/../" not in name and "\0" not in name


def _cells(table: Table, column: str | None, rows: list[int], findings: Findings) -> list[Any] | None:
    if column is None:
        return None
    cells = table.column(column, findings)
    return [cells[row] for row in rows]


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_RECORDING_BYTES:
            raise Unusable("its file is larger than 1 GiB")
        return path.read_bytes()
    except FileNotFoundError:
        raise Unusable("there is no such file") from None
    except OSError as error:
        raise Unusable(f"its file cannot be read: {error.strerror}") from None


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        if archive.getinfo(name).file_size > MAX_RECORDING_BYTES:
            raise Unusable("its file is larger than 1 GiB")
        return archive.read(name)
    except KeyError:
        raise Unusable("there is no such file in the archive") from None
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise Unusable(f"it cannot be read from the archive: {error}") from None


def _read_nothing(name: str) -> bytes:
    raise Unusable("there is no such file")
