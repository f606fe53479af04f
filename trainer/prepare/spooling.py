"""Rows that were read once, on disk in a form that is read again fast: batch after batch, only the columns that are asked for."""

import bisect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from trainer.prepare.frame import BATCH, Names, Read

MOST_CHARS = 1 << 24  # of the cells of a batch; texts may be as long as books
Tick = Callable[[], None]


class Places:
    """Where each row stands in the files: kept only where a row does not simply follow the one before."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._at: list[tuple[str, int]] = []
        self._next: tuple[str, int] | None = None
        self._num = 0

    def add(self, file: str, row: int, num: int = 1) -> None:
        """``num`` rows that follow one another, the first of them ``row``."""
        if self._next != (file, row):
            self._starts.append(self._num)
            self._at.append((file, row))
        self._next = (file, row + num)
        self._num += num

    def of(self, position: int) -> tuple[str, int]:
        """(file, row)."""
        run = bisect.bisect_right(self._starts, position) - 1
        file, row = self._at[run]
        return file, row + position - self._starts[run]

    def named(self, position: int) -> str:
        file, row = self.of(position)
        return f"{file}, row {row}"


class Spool:
    """Written row by row, then read as often as need be. ``tick`` is called for each batch."""

    def __init__(self, path: Path, schema: pa.Schema, tick: Tick) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._schema, self._tick = path, schema, tick
        self._writer = pa.ipc.new_file(pa.OSFile(str(path), "wb"), schema)
        self._cells: dict[str, list[Any]] = {name: [] for name in schema.names}
        self._num = self._num_chars = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, record: Mapping[str, Any]) -> None:
        """What the record lacks is None."""
        for name, cells in self._cells.items():
            cell = record.get(name)
            cells.append(cell)
            self._num_chars += len(cell) if isinstance(cell, str | list) else 0
        self._num += 1
        if self._num == BATCH or self._num_chars > MOST_CHARS:
            self._flush()

    def _flush(self) -> None:
        self._tick()
        if self._num:
            arrays = [pa.array(self._cells[field.name], field.type) for field in self._schema]
            self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._cells = {name: [] for name in self._cells}
        self._num = self._num_chars = 0

    def reader(self) -> Read:
        return lambda names: read_spool(self._path, self._schema, names, self._tick)


def read_spool(path: Path, schema: pa.Schema, names: Names, tick: Tick) -> Iterator[pa.Table]:
    """Read, not mapped: pages of a mapped file would count as memory of this process."""
    included = None if names is None else sorted({schema.names.index(name) for name in names})
    with pa.OSFile(str(path)) as file:
        batches = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=included))
        for number in range(batches.num_record_batches):
            tick()
            table = pa.Table.from_batches([batches.get_batch(number)])
            yield table if names is None else table.select(list(names))
