"""Thins a series for a chart: at most N points, with every bucket's minimum and maximum among them."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from core.metrics.pack import Points, joined


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a series: its summary, and a way to its points, which is used only where they are needed."""

    num_points: int
    minimum: float | None
    maximum: float | None
    load: Callable[[], Points]


def thin(blocks: Sequence[Block], max_points: int) -> Points:
    """The series, or ``max_points`` of it: the first, the last, and the least and greatest value of each bucket.

    Buckets hold equally many points; where there are more blocks than buckets they hold whole blocks, so that no more
    than ``max_points`` blocks are loaded however long the series is. A bucket without a finite value gives its first point.
    """
    num_points = sum(block.num_points for block in blocks)
    if num_points <= max_points:
        return joined(block.load() for block in blocks)
    num_buckets = (max_points - 2) // 2
    if len(blocks) < num_buckets or len(blocks) == 1:
        picked = _from_points(joined(block.load() for block in blocks), num_buckets)
    else:
        picked = _from_blocks(blocks, num_buckets)
    return joined(picked)


def _from_points(points: Points, num_buckets: int) -> list[Points]:
    kept = {0, len(points) - 1}
    for start, end in _bounds(len(points), num_buckets):
        values = points.values[start:end]
        kept.update(start + position for position in (_position(values, min), _position(values, max)))
    return [points.cut(index, index + 1) for index in sorted(kept)]


def _from_blocks(blocks: Sequence[Block], num_buckets: int) -> list[Points]:
    loaded: dict[int, Points] = {}

    def points_of(index: int) -> Points:
        if index not in loaded:
            loaded.clear()  # buckets come in order, so older blocks are not asked for again
            loaded[index] = blocks[index].load()
        return loaded[index]

    kept = {(0, 0): points_of(0).cut(0, 1)}
    for start, end in _bounds(len(blocks), num_buckets):
        lowest = min(range(start, end), key=lambda index: _or(blocks[index].minimum, inf))
        highest = max(range(start, end), key=lambda index: _or(blocks[index].maximum, -inf))
        for index, pick in ((lowest, min), (highest, max)):
            points = points_of(index)
            position = _position(points.values, pick)
            kept[index, position] = points.cut(position, position + 1)
    tail = points_of(len(blocks) - 1)
    kept[len(blocks) - 1, len(tail) - 1] = tail.cut(len(tail) - 1, len(tail))
    return [kept[place] for place in sorted(kept)]


def _bounds(length: int, num_buckets: int) -> Iterator[tuple[int, int]]:
    """Start and end of each bucket; none is empty as long as there are not more buckets than things."""
    for bucket in range(num_buckets):
        yield length * bucket // num_buckets, length * (bucket + 1) // num_buckets


def _position(values: "array[float]", pick: Callable[[Iterable[float]], float]) -> int:
    """Where the least or greatest finite value is first; 0 when there is none."""
    if isfinite(sum(values)):
        return values.index(pick(values))
    finite = [value for value in values if isfinite(value)]
    return values.index(pick(finite)) if finite else 0


def _or(bound: float | None, otherwise: float) -> float:
    return otherwise if bound is None else bound
