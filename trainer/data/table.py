"""Rows with named columns, read from CSV, TSV, JSON lines, JSON or parquet, and where each of them came from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from trainer.data.delimited import read_delimited
from trainer.data.findings import Findings
from trainer.data.layout import find_parts, part_of
from trainer.data.records import read_json, read_json_lines, read_parquet

Record = tuple[int, Mapping[str, Any]]
Reader = Callable[[Path, str, Findings], Iterator[Record]]

READERS: dict[str, Reader] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".tab": read_delimited,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".parquet": read_parquet,
    ".pq": read_parquet,
}
MOST_NAMED = 20


class Where(TypedDict):
    file: str
    row: int


@dataclass(slots=True)
class Table:
    """``columns`` all have one entry per record. ``rows`` are record numbers within ``files``, for messages; ``parts`` are given splits.

    Cells of CSV and TSV are ``str``, or None where nothing stands; everything else stays as it is typed in its file.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    parts: list[str | None] = field(default_factory=list)

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def column(self, name: str, findings: Findings) -> list[Any]:
        """The cells of a column. One that does not exist is a fatal finding that names those that do, and reads as all None."""
        if name not in self.columns:
            findings.fatal(f"there is no column {name!r}; the columns are {listed(self.columns)}")
            return [None] * self.num_rows
        return self.columns[name]

    def where(self, position: int) -> Where:
        """For ``Findings``: ``findings.bad_row("it is empty", **table.where(position), column="text")``."""
        return {"file": self.files[position], "row": self.rows[position]}

    def keep(self, mask: npt.NDArray[np.bool_] | Sequence[bool]) -> "Table":
        """The records for which ``mask`` is true."""
        kept = np.flatnonzero(np.asarray(mask, dtype=bool)).tolist()
        return Table(
            columns={name: [cells[i] for i in kept] for name, cells in self.columns.items()},
            files=[self.files[i] for i in kept],
            rows=[self.rows[i] for i in kept],
            parts=[self.parts[i] for i in kept],
        )


def read_table(root: Path, findings: Findings, *, split_column: str = "split") -> Table:
    """All records of a file, or of the files of a folder (``layout.find_parts``), in the order of their names.

    The split of a record is that of its file's name; where no name tells, that of ``split_column``, which then is no
    longer among the columns. What cannot be read becomes findings; the table holds the rest.
    """
    table = Table()
    parts = find_parts(root, tuple(READERS))
    if not parts:
        findings.fatal(f"{root.name} holds no table: no file ends in {', '.join(READERS)}")
    schemas: dict[str, list[str]] = {}
    for part, paths in parts.items():
        for path in paths:
            name = path.name if path == root else path.relative_to(root).as_posix()
            schemas[name] = _append(table, path, name, None if part == "all" else part, findings)
    compare_schemas(schemas, findings)
    if parts and not table.num_rows and not findings.has_fatal and not findings.num_bad_rows:
        findings.fatal("there are no rows", file=", ".join(schemas))
    if set(parts) == {"all"}:
        _take_parts_from(table, split_column, findings)
    return table


def _append(table: Table, path: Path, name: str, part: str | None, findings: Findings) -> list[str]:
    """Reads one file into the table; the names of its columns."""
    names: dict[str, None] = {}
    for row, record in READERS[path.suffix.lower()](path, name, findings):
        for column in record:
            if column not in names:
                names[column] = None
                table.columns.setdefault(column, []).extend([None] * (table.num_rows - len(table.columns[column])))
        for column, cells in table.columns.items():
            cells.append(record.get(column))
        table.files.append(name)
        table.rows.append(row)
        table.parts.append(part)
    return list(names)


def compare_schemas(schemas: Mapping[str, Sequence[str]], findings: Findings) -> None:
    """Files of one table agree in their columns; a column that only some have is more likely a mistake than empty."""
    filled = {name: columns for name, columns in schemas.items() if columns}
    if not filled:
        return
    first = next(iter(filled))
    for name, columns in filled.items():
        missing = [column for column in filled[first] if column not in columns]
        added = [column for column in columns if column not in filled[first]]
        if 2 * len(set(columns) & set(filled[first])) < max(len(columns), len(filled[first])):
            differing = f"its columns are {listed(columns)}, those of {first} {listed(filled[first])}"
            findings.fatal(f"{differing}; let dataset.path name one file when these are different tables", file=name)
        elif missing or added:
            differences = [f"lacks {listed(missing)}"] * bool(missing) + [f"adds {listed(added)}"] * bool(added)
            findings.count(f"{name} {' and '.join(differences)}, compared with {first}")


def _take_parts_from(table: Table, split_column: str, findings: Findings) -> None:
    """A column counts as a split only if every value that it has, or almost every, is the name of one."""
    cells = table.columns.get(split_column)
    if cells is None:
        return
    parts = [part_of(str(cell).strip()) if cell is not None else None for cell in cells]
    num_named = sum(part is not None for part in parts)
    if 2 * num_named <= sum(cell is not None for cell in cells):
        return
    for position, (cell, part) in enumerate(zip(cells, parts, strict=True)):
        if cell is not None and part is None:
            findings.bad_row(f"{cell!r} is none of train, validation, test", **table.where(position), column=split_column)
    kept = [cell is None or part is not None for cell, part in zip(cells, parts, strict=True)]
    table.parts = parts
    del table.columns[split_column]
    if not all(kept):
        left = table.keep(kept)
        table.columns, table.files, table.rows, table.parts = left.columns, left.files, left.rows, left.parts


def listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    """At most ``MOST_NAMED`` names for a message."""
    shown = list(names)[:MOST_NAMED]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(repr(name) for name in shown) + more if shown else "none"
