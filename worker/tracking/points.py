"""Metric points: appended to ``metrics.jsonl``, each once, with the newest of every series in memory and the rest in the file."""

import json
import logging
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

from core.run_dir import MetricLine
from worker.tracking.folder import TrackingFolder
from worker.tracking.lines import GrowingFile, read_lines

log = logging.getLogger("trainyard.tracking")

MAX_METRICS_BYTES = 4 << 30
MAX_VALUES_PER_LINE = 256  # what a reader of the run directory's metrics takes in one line
NUM_REMEMBERED = 100_000  # a client repeats a request for minutes at most
MAX_STEP = 2**53


class Point(NamedTuple):
    """``at_ms`` is Unix milliseconds, ``name`` the series in the file."""

    name: str
    step: int
    at_ms: int
    value: float


class Points:
    """Not for several threads at once, but ``of`` may be called from any."""

    def __init__(self, folder: TrackingFolder) -> None:
        self._folder = folder
        self._file = GrowingFile(folder.metrics, max_bytes=MAX_METRICS_BYTES)
        self._remembered: dict[tuple[str, int, int, str], None] = {}
        self._next_seq = 0
        self.newest: dict[str, Point] = {}
        for point in self._read():
            self._take(point)
        self._next_seq = sum(1 for _ in read_lines(folder.metrics))

    def add(self, points: Sequence[Point]) -> int:
        """How many were new: one with the series, step, time and value of another is that one, told again."""
        fresh = [point for point in points if self._take(point)]
        lines = []
        for (step, at_ms), group in groupby(fresh, key=lambda point: (point.step, point.at_ms)):
            for values in _lines_of(group):
                line = {"seq": self._next_seq, "step": step, "at": at_ms / 1000, "values": values}
                lines.append(json.dumps(line).encode())
                self._next_seq += 1
        if lines:
            self._file.add(b"\n".join(lines))
        return len(fresh)

    def of(self, name: str, start: int = 0, most: int | None = None) -> list[Point]:
        """Points of the series, of earlier attempts too, as they were told: at most ``most`` from the one at ``start`` on."""
        found = (point for point in self._read(json.dumps(name).encode()) if point.name == name)
        return list(islice(found, start, None if most is None else start + most))

    def close(self) -> None:
        self._file.close()

    def _take(self, point: Point) -> bool:
        identity = (point.name, point.step, point.at_ms, repr(point.value))
        if identity in self._remembered:
            return False
        self._remembered[identity] = None
        if len(self._remembered) > NUM_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        before = self.newest.get(point.name)
        if before is None or (point.step, point.at_ms) >= (before.step, before.at_ms):
            self.newest[point.name] = point
        return True

    def _read(self, containing: bytes = b"") -> Iterator[Point]:
        for path in (self._folder.history, self._folder.metrics):
            for line in read_lines(path):
                if containing in line:
                    yield from _points_of(line)


def _lines_of(points: Iterator[Point]) -> Iterator[dict[str, float]]:
    """The values of one step and time as lines: a series told twice begins a new one."""
    values: dict[str, float] = {}
    for point in points:
        if point.name in values or len(values) == MAX_VALUES_PER_LINE:
            yield values
            values = {}
        values[point.name] = point.value
    yield values


def _points_of(line: bytes) -> Iterator[Point]:
    try:
        told = MetricLine.model_validate_json(line)
    except ValueError as error:
        log.warning("a metrics line is unreadable", extra={"event": "tracking.unreadable", "cause": repr(error)})
        return
    at_ms = round(told.at * 1000)
    for name, value in told.values.items():
        yield Point(name, told.step, at_ms, value)
