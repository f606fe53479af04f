"""What came after a known batch: the source of live metric streams."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from sqlalchemy import Connection, func, select

from core.db.tables import attempts, metric_blocks
from core.errors import InvalidInput
from core.metrics.pack import Points, unpack

MAX_BACKLOG = 50_000  # points; whoever is further behind gets the thinned series again

_PLACE = re.compile(r"(\d{1,9})\.(\d{1,9})")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """How far a reader has come: all batches up to ``seq`` of attempt number ``attempt`` are known. Text: ``2.118``."""

    attempt: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> "Place":
        match = _PLACE.fullmatch(text)
        if match is None:
            raise InvalidInput("the event id must look like 2.118", param="Last-Event-ID")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.attempt}.{self.seq}"


@dataclass(frozen=True, slots=True)
class NewPoints:
    """All points of one attempt that a reader did not know, by name; ``place`` is where the reader stands with them."""

    place: Place
    series: dict[str, Points]


def present_place(tx: Connection, job_id: str) -> Place:
    """The newest batch of the newest attempt; 0.0 before the first."""
    newest = select(attempts.c.number, attempts.c.metric_seq).where(attempts.c.job_id == job_id).order_by(attempts.c.number.desc()).limit(1)
    row = tx.execute(newest).one_or_none()
    return Place(row.number, row.metric_seq) if row else Place(0, 0)


def points_after(tx: Connection, job_id: str, known: Place, names: Sequence[str] = ()) -> list[NewPoints] | None:
    """Everything after ``known``, oldest attempt first; None when that is more than anyone should stream."""
    query = (
        select(attempts.c.id, attempts.c.number, attempts.c.metric_seq)
        .where(attempts.c.job_id == job_id, attempts.c.number >= known.attempt)
        .order_by(attempts.c.number)
    )
    found: list[NewPoints] = []
    for attempt_id, number, metric_seq in tx.execute(query).all():
        seen = known.seq if number == known.attempt else 0
        if _backlog(tx, attempt_id, seen) > MAX_BACKLOG:
            return None
        series = _series_after(tx, attempt_id, seen, names)
        if series or number > known.attempt:
            found.append(NewPoints(Place(number, metric_seq), series))
    return found


def _backlog(tx: Connection, attempt_id: str, seen: int) -> int:
    """How many points the blocks hold that must be read for what came after batch ``seen``."""
    blocks = (metric_blocks.c.attempt_id == attempt_id, metric_blocks.c.last_seq > seen)
    return tx.scalar(select(func.coalesce(func.sum(metric_blocks.c.num_points), 0)).where(*blocks)) or 0


def _series_after(tx: Connection, attempt_id: str, seen: int, names: Sequence[str]) -> dict[str, Points]:
    query = (
        select(metric_blocks.c.name, metric_blocks.c.points)
        .where(metric_blocks.c.attempt_id == attempt_id, metric_blocks.c.last_seq > seen)
        .order_by(metric_blocks.c.id)
    )
    if names:
        query = query.where(metric_blocks.c.name.in_(names))
    series: dict[str, Points] = {}
    for name, packed in tx.execute(query):
        points = unpack(packed)
        fresh = points.cut(_first_after(points, seen), len(points))
        series[name] = series[name].extended(fresh) if name in series else fresh
    return series


def _first_after(points: Points, seen: int) -> int:
    return next((index for index, seq in enumerate(points.seqs) if seq > seen), len(points))


def as_json(points: Points) -> dict[str, list[int] | list[float] | list[float | None]]:
    """The columns of one name as they go over the wire; null stands for NaN and infinities."""
    values = [value if isfinite(value) else None for value in points.values]
    return {"steps": points.steps.tolist(), "values": values, "times": points.times.tolist()}
