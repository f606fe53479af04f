"""Predictions as a file of JSON lines, CSV or parquet. Columns may turn up late: lines come first, and are made a table at the end."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

Format = Literal["jsonl", "csv", "parquet"]
Kind = Literal["integer", "number", "truth", "text", "json"]
PARQUET_ROWS = 4096


class PredictionFile:
    """``add`` in the order of rows, ``finish`` once. ``spool`` is where lines lie until they are a table."""

    def __init__(self, folder: Path, form: Format, spool: Path) -> None:
        self.path, self._form = folder / f"predictions.{form}", form
        self._lines = self.path if form == "jsonl" else spool / "predictions.jsonl"
        self._file: IO[str] = self._lines.open("w", encoding="utf-8")
        self._kinds: dict[str, Kind] = {}

    def add(self, prediction: dict[str, Any]) -> None:
        for name, value in prediction.items():
            if value is not None:
                self._kinds[name] = joined(self._kinds.get(name), kind_of(value))
        self._file.write(json.dumps(prediction, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()

    def finish(self) -> None:
        """There is no file where nothing was added."""
        self.close()
        if not self._kinds:
            self._lines.unlink()
            return
        if self._form == "csv":
            self._write_csv()
        if self._form == "parquet":
            self._write_parquet()
        if self._lines != self.path:
            self._lines.unlink()

    def _rows(self) -> Iterator[dict[str, Any]]:
        with self._lines.open(encoding="utf-8") as file:
            for line in file:
                own = json.loads(line)
                yield {name: as_cell(own.get(name), kind) for name, kind in self._kinds.items()}

    def _write_csv(self) -> None:
        with self.path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(self._kinds), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows())

    def _write_parquet(self) -> None:
        import pyarrow as pa  # noqa: PLC0415  # why: it takes a quarter of a second, and only parquet needs it
        import pyarrow.parquet as pq  # noqa: PLC0415  # why: the same

        types = {"integer": pa.int64(), "number": pa.float64(), "truth": pa.bool_(), "text": pa.string(), "json": pa.string()}
        schema = pa.schema([(name, types[kind]) for name, kind in self._kinds.items()])
        with pq.ParquetWriter(self.path, schema) as writer:
            part: list[dict[str, Any]] = []
            for row in self._rows():
                part.append(row)
                if len(part) == PARQUET_ROWS:
                    writer.write_table(pa.Table.from_pylist(part, schema))
                    part = []
            writer.write_table(pa.Table.from_pylist(part, schema))


def kind_of(value: Any) -> Kind:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "text" if isinstance(value, str) else "json"


def joined(one: Kind | None, other: Kind) -> Kind:
    """The kind of a column that has cells of both."""
    if one is None or one == other:
        return other
    return "number" if {one, other} == {"integer", "number"} else "json"


def as_cell(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "json":
        return json.dumps(value, ensure_ascii=False)
    return float(value) if kind == "number" else value
