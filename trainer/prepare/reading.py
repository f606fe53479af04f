"""A dataset as it is before the first step: a table in memory, or a list of images that are read one by one."""

import codecs
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.recipes.dataset_preparation import FixEncoding
from core.recipes.sections.data import DataKnobs
from trainer.data.findings import Findings
from trainer.data.images.by_class import SUFFIXES as IMAGE_SUFFIXES
from trainer.data.images.by_class import list_archives, list_folder
from trainer.data.images.listing import Listing
from trainer.data.layout import find_parts, part_of
from trainer.data.table import READERS, listed, read_table
from trainer.errors import InvalidData
from trainer.prepare.frame import Frame, Parts
from trainer.profile.detection import AUDIO_SUFFIXES, form_of
from trainer.profile.files import CHUNK, TEXT_SUFFIXES, encoding_of, files_below

PARQUET = (".parquet", ".pq")
ENCODING_OF_PROFILE = {"ascii": "utf-8-sig", "utf-8": "utf-8-sig", "utf-8 with a byte order mark": "utf-8-sig", "unknown": "cp1252"}
SPLIT_COLUMN = DataKnobs().split_column


@dataclass(frozen=True, slots=True)
class TableSource:
    """``suffix`` says how it is written again. ``beside``: other files by their paths, which are handed on as they are."""

    frame: Frame
    suffix: str
    beside: dict[str, Path]
    num_left_out: int


@dataclass(frozen=True, slots=True)
class ImageSource:
    listing: Listing


Source = TableSource | ImageSource


def read_source(root: Path, on_bad_rows: Any) -> Source:
    """InvalidData with everything that cannot be read, or when steps know nothing to do with such a dataset."""
    findings = Findings()
    kind = form_of(root)[0]
    if kind in ("image-folder", "image-archive"):
        listing = list_folder(root, findings) if kind == "image-folder" else list_archives(root, findings)
        findings.settle(on_bad_rows)
        if not len(listing):
            raise InvalidData(["there is no image in it"])
        return ImageSource(listing)
    files = [path for paths in find_parts(root, tuple(READERS)).values() for path in paths]
    if not files:
        raise InvalidData([f"{kind}: steps are for tables (CSV, TSV, JSON lines, JSON, parquet) and for folders or archives of images"])
    suffixes = {path.suffix.lower() for path in files}
    if len(suffixes) > 1:
        raise InvalidData([f"its tables are in different formats: {', '.join(sorted(suffixes))}"])
    suffix = suffixes.pop()
    frame = read_parquet_frame(root, findings) if suffix in PARQUET else read_plain_frame(root, findings)
    findings.settle(on_bad_rows)
    return TableSource(frame, suffix, beside(root, files), findings.num_bad_rows)


def read_plain_frame(root: Path, findings: Findings) -> Frame:
    """Cells of CSV and TSV stay texts; those of JSON have the type that all of a column have in common."""
    table = read_table(root, findings, split_column=SPLIT_COLUMN)
    columns = {}
    for name, cells in table.columns.items():
        try:
            columns[name] = pa.array(cells, pa.string() if all(cell is None for cell in cells) else None)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
            findings.fatal("it holds values of different types, which no step can keep apart", column=name)
    return Frame(pa.table(columns), list(table.parts))


def read_parquet_frame(root: Path, findings: Findings) -> Frame:
    """All files of one schema, one after the other."""
    tables: list[pa.Table] = []
    parts: Parts = []
    for part, paths in find_parts(root, PARQUET).items():
        for path in paths:
            table = _read_parquet(path, findings)
            if table is None:
                continue
            if tables and table.schema != tables[0].schema:
                findings.fatal(f"its columns are {listed(table.column_names)}, not those of the first file", file=path.name)
                continue
            tables.append(table)
            parts += [None if part == "all" else part] * table.num_rows
    if not tables:
        return Frame(pa.table({}), [])
    if not parts:
        findings.fatal("there are no rows")
    return _by_split_column(Frame(pa.concat_tables(tables), parts))


def _read_parquet(path: Path, findings: Findings) -> pa.Table | None:
    """Without what a schema says beside names and types, so that steps may put any column in the place of another."""
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        findings.fatal(f"it is not a readable parquet file: {error}", file=path.name)
        return None
    if len(set(table.column_names)) < table.num_columns:
        findings.fatal("two of its columns have one name", file=path.name)
        return None
    return pa.table(dict(zip(table.column_names, table.columns, strict=True)))


def _by_split_column(frame: Frame) -> Frame:
    """Where files say nothing, a column whose every value is the name of a split does."""
    if any(frame.parts) or SPLIT_COLUMN not in frame.table.column_names:
        return frame
    parts = [None if cell is None else part_of(str(cell).strip()) for cell in frame.cells(SPLIT_COLUMN)]
    return Frame(frame.table.drop_columns([SPLIT_COLUMN]), parts) if parts and all(parts) else frame


def beside(root: Path, tables: list[Path]) -> dict[str, Path]:
    """Recordings, images, names of tags: what lies beside the tables. InvalidData when tables in folders name such files."""
    if root.is_file():
        return {}
    others = {path.relative_to(root).as_posix(): path for path in files_below(root, follow_links=False) if path not in tables}
    media = [name for name in others if name.lower().endswith((*AUDIO_SUFFIXES, *IMAGE_SUFFIXES))]
    if media and any(path.parent != root for path in tables):
        raise InvalidData(["its tables lie in folders with other files, and the paths in them would lead nowhere; put the tables on top"])
    return others


def fix_encoding(root: Path, step: FixEncoding, scratch: Path) -> tuple[Path, dict[str, str]]:
    """The dataset with all text in UTF-8, below ``scratch``, and the encoding of every file that was in another.

    InvalidData names all files that are not what the step says.
    """
    fixed, problems = dict[str, str](), list[str]()
    paths = files_below(root, follow_links=False)
    for path in paths:
        name = path.name if path == root else path.relative_to(root).as_posix()
        target = scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not name.lower().endswith(TEXT_SUFFIXES):
            _place(path, target)
            continue
        found = encoding_of(path)
        encoding = ENCODING_OF_PROFILE.get(found, found) if step.source == "auto" else step.source
        try:
            _recode(path, target, "utf-8-sig" if encoding == "utf-8" else encoding)
        except UnicodeError as error:
            problems.append(f"{name}: it is not {encoding}: {error}")
        if found not in ("ascii", "utf-8"):
            fixed[name] = encoding
    if problems:
        raise InvalidData(problems)
    return (scratch / root.name if root.is_file() else scratch), fixed


def _recode(path: Path, target: Path, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as source, target.open("wb") as file:
        while chunk := source.read(CHUNK):
            file.write(decoder.decode(chunk).encode("utf-8"))
        file.write(decoder.decode(b"", final=True).encode("utf-8"))


def _place(path: Path, target: Path) -> None:
    """A second name where the file system allows it, else a copy."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
