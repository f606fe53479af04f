"""Points as packed columns: what one row of ``metric_blocks`` holds."""

import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from core.errors import InvalidInput, Problem
from core.wire.worker import SeriesPoints

FULL = 1024  # points of a full block
CLOSED = 512  # a block with this many points is not merged again; tables.py and the queries spell it out for their index
_BYTES_PER_POINT = 8 + 8 + 8 + 4
_IS_BIG_ENDIAN = sys.byteorder == "big"


@dataclass(frozen=True, slots=True)
class Points:
    """Equally long columns. ``values`` may hold NaN and infinities; ``seqs`` is the batch that brought each point."""

    steps: "array[int]"  # int64
    values: "array[float]"
    times: "array[float]"  # Unix seconds by the node's clock
    seqs: "array[int]"  # uint32

    def __len__(self) -> int:
        return len(self.steps)

    def cut(self, start: int, end: int) -> "Points":
        return Points(self.steps[start:end], self.values[start:end], self.times[start:end], self.seqs[start:end])

    def extended(self, other: "Points") -> "Points":
        return Points(self.steps + other.steps, self.values + other.values, self.times + other.times, self.seqs + other.seqs)


def no_points() -> Points:
    return Points(array("q"), array("d"), array("d"), array("I"))


def joined(parts: Iterable[Points]) -> Points:
    whole = no_points()
    for part in parts:
        whole.steps.extend(part.steps)
        whole.values.extend(part.values)
        whole.times.extend(part.times)
        whole.seqs.extend(part.seqs)
    return whole


def from_wire(name: str, series: SeriesPoints, seq: int) -> Points:
    """The points of one name of batch ``seq``; InvalidInput when the lists differ in length, steps fall or a time is no number."""
    num_points = len(series.steps)
    if not num_points == len(series.values) == len(series.times):
        raise _bad(name, "steps, values and times must be equally long")
    if series.steps != sorted(series.steps):
        raise _bad(name, "steps must not fall")
    if not isfinite(sum(series.times)):
        raise _bad(name, "times must be Unix seconds")
    return Points(array("q", series.steps), _doubles(series.values), array("d", series.times), array("I", [seq]) * num_points)


def _doubles(values: list[float | None]) -> "array[float]":
    try:
        return array("d", values)  # type: ignore[arg-type]  # a None raises: the rare case is not looked for
    except TypeError:
        return array("d", [nan if value is None else value for value in values])


def _bad(name: str, message: str) -> InvalidInput:
    pointer = "/series/" + name.replace("~", "~0").replace("/", "~1")
    return InvalidInput(problems=[Problem(pointer, message)])


def pack(points: Points) -> bytes:
    """Little-endian columns, one after another: int64 steps, float64 values, float64 times, uint32 seqs."""
    return b"".join(_little_endian(column).tobytes() for column in (points.steps, points.values, points.times, points.seqs))


def unpack(packed: bytes) -> Points:
    num_points = len(packed) // _BYTES_PER_POINT
    view, columns = memoryview(packed), []
    for code, width in (("q", 8), ("d", 8), ("d", 8), ("I", 4)):
        column: array[Any] = array(code)
        column.frombytes(view[: num_points * width])
        columns.append(_little_endian(column))
        view = view[num_points * width :]
    return Points(*columns)


def _little_endian(column: "array[Any]") -> "array[Any]":
    if _IS_BIG_ENDIAN:
        column = column[:]
        column.byteswap()
    return column


def finite_bounds(values: "array[float]") -> tuple[float | None, float | None]:
    """The least and the greatest finite value; (None, None) when there is none."""
    if not values:
        return None, None
    if isfinite(sum(values)):  # a sum of finite numbers that overflows only costs the slow way
        return min(values), max(values)
    finite = [value for value in values if isfinite(value)]
    return (min(finite), max(finite)) if finite else (None, None)


def block_row(job_id: str, attempt_id: str, name: str, points: Points) -> dict[str, Any]:
    """A row of ``metric_blocks`` for points that are not empty."""
    minimum, maximum = finite_bounds(points.values)
    return {
        "job_id": job_id,
        "attempt_id": attempt_id,
        "name": name,
        "first_step": points.steps[0],
        "last_step": points.steps[-1],
        "num_points": len(points),
        "minimum": minimum,
        "maximum": maximum,
        "last_seq": points.seqs[-1],
        "points": pack(points),
    }


def full_blocks(points: Points) -> Iterator[Points]:
    """The points in pieces of at most a full block."""
    for start in range(0, len(points), FULL):
        yield points.cut(start, start + FULL)
