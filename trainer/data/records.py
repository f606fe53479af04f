"""Records from JSON lines, JSON and parquet, numbered from 1."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from trainer.data.findings import Findings
from trainer.data.text_lines import sound_lines, sound_text

Record = tuple[int, Mapping[str, Any]]
PARQUET_ROWS = 4096


def read_json_lines(path: Path, name: str, findings: Findings) -> Iterator[Record]:
    """One object a line; a line that is none is a bad row."""
    for row, line in sound_lines(path, name, findings):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            findings.bad_row(f"it is not JSON: {error}", file=name, row=row)
            continue
        if isinstance(record, dict):
            yield row, record
        else:
            findings.bad_row(f"it is {_kind(record)}, not an object", file=name, row=row)


def read_json(path: Path, name: str, findings: Findings) -> Iterator[Record]:
    """A list of objects; a file that does not begin with a bracket is read as JSON lines."""
    if not sound_text(path, name, findings):
        return
    text = path.read_bytes()
    if not text.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        yield from read_json_lines(path, name, findings)
        return
    try:
        records = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        findings.fatal(f"byte {error.start} is not UTF-8; save the file as UTF-8", file=name)
        return
    except (ValueError, RecursionError) as error:
        findings.fatal(f"it is not JSON: {error}", file=name)
        return
    for row, record in enumerate(records, 1):
        if isinstance(record, dict):
            yield row, record
        else:
            findings.bad_row(f"it is {_kind(record)}, not an object", file=name, row=row)


def read_parquet(path: Path, name: str, findings: Findings) -> Iterator[Record]:
    """Lists, structs and bytes stay what they are; dates and times become text in ISO 8601, decimals numbers."""
    import pyarrow as pa  # noqa: PLC0415  # why: it takes a quarter of a second, and only parquet needs it
    import pyarrow.parquet as pq  # noqa: PLC0415  # why: the same

    try:
        with pq.ParquetFile(path) as file:
            row = 0
            for batch in file.iter_batches(PARQUET_ROWS):
                for record in batch.to_pylist():
                    row += 1
                    yield row, {column: _plain(cell) for column, cell in record.items()}
    except (pa.ArrowException, OSError) as error:
        findings.fatal(f"it is not a readable parquet file: {error}", file=name)


def _plain(cell: Any) -> Any:
    if isinstance(cell, date | time):
        return cell.isoformat()
    return float(cell) if isinstance(cell, Decimal) else cell


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {list: "a list", str: "a text", bool: "a truth value"}.get(type(value), "a number")
