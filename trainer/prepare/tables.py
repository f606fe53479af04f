"""Tables before the first step. CSV, TSV and parquet are read in batches; JSON, whose columns get their types from all rows, is held."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.recipes.sections.data import DataKnobs
from trainer.data.delimited import read_delimited
from trainer.data.findings import Findings
from trainer.data.layout import find_parts, part_of
from trainer.data.table import compare_schemas, listed, read_table
from trainer.errors import InvalidData
from trainer.prepare.frame import BATCH, Frame, Names, Parts
from trainer.prepare.spooling import Places, Spool, Tick

DELIMITED, PARQUET = (".csv", ".tsv", ".tab"), (".parquet", ".pq")
SPLIT_COLUMN = DataKnobs().split_column
PAGES = 1 << 20  # bytes of a parquet column that are read at once


def read_frame(root: Path, suffix: str, findings: Findings, *, scratch: Path, tick: Tick) -> tuple[Frame, Places]:
    """Whatever is wrong becomes findings, and rows that cannot be read are left out."""
    if suffix in PARQUET:
        return _read_parquet_frame(root, findings, tick)
    if suffix in DELIMITED:
        return _read_delimited_frame(root, findings, scratch / "rows.arrow", tick)
    return _read_json_frame(root, findings)


def _read_json_frame(root: Path, findings: Findings) -> tuple[Frame, Places]:
    """Cells have the type that all of a column have in common."""
    table = read_table(root, findings, split_column=SPLIT_COLUMN)
    places, columns = Places(), {}
    for file, row in zip(table.files, table.rows, strict=True):
        places.add(file, row)
    for name, cells in table.columns.items():
        try:
            columns[name] = pa.array(cells, pa.string() if all(cell is None for cell in cells) else None)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
            findings.fatal("it holds values of different types, which no step can keep apart", column=name)
    return Frame.of(pa.table(columns), list(table.parts)), places


def _read_delimited_frame(root: Path, findings: Findings, spool: Path, tick: Tick) -> tuple[Frame, Places]:
    """All cells are texts. The columns are those of all files, as wherever tables are read."""
    parts = find_parts(root, DELIMITED)
    files = [(None if part == "all" else part, path) for part, paths in parts.items() for path in paths]
    names = {path: _header(path) for _, path in files}
    compare_schemas({_name(path, root): own for path, own in names.items()}, findings)
    schema = pa.schema([(name, pa.string()) for name in dict.fromkeys(itertools.chain.from_iterable(names.values()))])
    places, of_rows = Places(), Parts()
    with Spool(spool, schema, tick) as rows:
        for part, path in files:
            name = _name(path, root)
            for row, record in read_delimited(path, name, findings):
                rows.add(record)
                places.add(name, row)
                of_rows.append(part)
    if not of_rows and not findings.has_fatal and not findings.num_bad_rows:
        findings.fatal("there are no rows", file=", ".join(_name(path, root) for _, path in files))
    return _by_column(Frame(schema, of_rows, rows.reader()), places, findings, is_given=set(parts) != {"all"})


def _header(path: Path) -> list[str]:
    """Nothing for a file without a record; what is wrong with one is said when it is read."""
    first = next(iter(read_delimited(path, path.name, Findings())), None)
    return [] if first is None else list(first[1])


def _name(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def _by_column(frame: Frame, places: Places, findings: Findings, *, is_given: bool) -> tuple[Frame, Places]:
    """Where files say nothing, a column does of whose values most are names of splits; the others are bad rows."""
    if is_given or SPLIT_COLUMN not in frame.names or findings.has_fatal:
        return frame, places
    parts, strangers, num_cells = Parts(), dict[int, str](), 0
    for row, cell in enumerate(frame.cells(SPLIT_COLUMN)):
        parts.append(None if cell is None else part_of(cell.strip()))
        num_cells += cell is not None
        if cell is not None and parts[-1] is None:
            strangers[row] = cell
    if 2 * len(strangers) >= num_cells:
        return frame, places
    for row, cell in strangers.items():
        file, number = places.of(row)
        findings.bad_row(f"{cell!r} is none of train, validation, test", file=file, row=number, column=SPLIT_COLUMN)
    return without_rows(_without(frame, parts), places, set(strangers))


def _without(frame: Frame, parts: Parts) -> Frame:
    left = frame.select({name: name for name in frame.names if name != SPLIT_COLUMN})
    return Frame(left.schema, parts, left.read)


def without_rows(frame: Frame, places: Places, gone: set[int]) -> tuple[Frame, Places]:
    if not gone:
        return frame, places
    kept, left = [row for row in range(frame.num_rows) if row not in gone], Places()
    for row in kept:
        left.add(*places.of(row))
    return frame.take(np.array(kept, dtype=np.int64)), left


def _read_parquet_frame(root: Path, findings: Findings, tick: Tick) -> tuple[Frame, Places]:
    """All files of one schema, one after the other; each is read once to the end, for a broken page may stand anywhere."""
    paths: list[Path] = []
    parts, places, schema = Parts(), Places(), None
    for part, files in find_parts(root, PARQUET).items():
        for path in files:
            name = _name(path, root)
            own = _schema_of(path, name, findings, tick)
            if own is None:
                continue
            if schema is not None and own != schema:
                findings.fatal(f"its columns are {listed(own.names)}, not those of the first file", file=name)
                continue
            schema = own
            paths.append(path)
            num_rows = pq.read_metadata(path).num_rows
            parts += [None if part == "all" else part] * num_rows
            places.add(name, 1, num_rows)
    if schema is None:
        return Frame.of(pa.table({}), []), places
    if not parts:
        findings.fatal("there are no rows")
    frame = Frame(schema, parts, lambda names: _batches(paths, names, tick))
    return _by_whole_column(frame), places


def _schema_of(path: Path, name: str, findings: Findings, tick: Tick) -> pa.Schema | None:
    """Names and types alone, so that steps may put any column in the place of another."""
    try:
        with _opened(path) as file:
            schema: pa.Schema = file.schema_arrow
            for _ in _batches_of(file, None):
                tick()
    except (pa.ArrowException, OSError) as error:
        findings.fatal(f"it is not a readable parquet file: {error}", file=name)
        return None
    if len(set(schema.names)) < len(schema.names):
        findings.fatal("two of its columns have one name", file=name)
        return None
    return pa.schema([(field.name, field.type) for field in schema])


def _opened(path: Path) -> pq.ParquetFile:
    """What is read ahead stays in memory until the file is closed, so nothing is."""
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=PAGES)


def _batches_of(file: pq.ParquetFile, names: Names) -> Iterator[pa.RecordBatch]:
    """One row group after the other, for each is let go when the next begins."""
    for number in range(file.num_row_groups):
        yield from file.iter_batches(BATCH, row_groups=[number], use_threads=False, columns=None if names is None else list(names))


def _batches(paths: Sequence[Path], names: Names, tick: Tick) -> Iterator[pa.Table]:
    for path in paths:
        try:
            with _opened(path) as file:
                for batch in _batches_of(file, names):
                    tick()
                    columns: dict[str, Any] = dict(zip(batch.schema.names, batch.columns, strict=True))
                    yield pa.table({name: columns[name] for name in (batch.schema.names if names is None else names)})
        except (pa.ArrowException, OSError) as error:
            raise InvalidData([f"{path.name}: it is not a readable parquet file: {error}"]) from None


def _by_whole_column(frame: Frame) -> Frame:
    """Where files say nothing, a column whose every value is the name of a split does."""
    if any(frame.parts) or SPLIT_COLUMN not in frame.names:
        return frame
    parts = [None if cell is None else part_of(str(cell).strip()) for cell in frame.cells(SPLIT_COLUMN)]
    return _without(frame, parts) if parts and all(parts) else frame
