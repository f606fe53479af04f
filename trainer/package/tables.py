"""The tables of a package as CSV (RFC 4180 quoting, UTF-8, one line feed a row)."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trainer.package.contents import Confusion


def write_predictions(path: Path, columns: dict[str, list[Any]]) -> None:
    """A row for each test row. Lists and objects become JSON in their cell. ValueError when the columns differ in length."""
    cells = ([_cell(value) for value in column] for column in columns.values())
    _write(path, list(columns), zip(*cells, strict=True))


def write_confusion(path: Path, confusion: Confusion) -> None:
    labels, counts = confusion
    rows = ([label, *row] for label, row in zip(labels, counts.tolist(), strict=True))
    _write(path, ["label \\ prediction", *labels], rows)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | tuple) else value
