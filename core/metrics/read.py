"""Reads a job's metrics: one series per name over all attempts, thinned."""

from collections.abc import Callable, Sequence
from math import isfinite

from sqlalchemy import Connection, Row, select

from core.db.tables import attempts, jobs, metric_blocks
from core.errors import NotFound
from core.metrics.pack import Points, finite_bounds, joined, unpack
from core.metrics.thin import Block, thin
from core.wire.jobs import JobMetrics, MetricSeries

DEFAULT_POINTS = 1_000

_SUMMARY = select(
    metric_blocks.c.id,
    metric_blocks.c.attempt_id,
    metric_blocks.c.name,
    metric_blocks.c.first_step,
    metric_blocks.c.last_step,
    metric_blocks.c.num_points,
    metric_blocks.c.minimum,
    metric_blocks.c.maximum,
)


def job_metrics(
    tx: Connection, project_id: str, job_id: str, *, names: Sequence[str] = (), max_points: int = DEFAULT_POINTS, attempt: int | None = None
) -> JobMetrics:
    """Every named series (all by default), each with at most ``max_points`` points. NotFound for a job of another project.

    Without ``attempt`` the attempts of a job are one series: from the first step that a later attempt reported on, its
    points stand and those of earlier attempts are left out.
    """
    ids = _attempt_ids(tx, project_id, job_id, attempt)
    blocks = _summaries(tx, ids, names)
    found = sorted({name for by_name in blocks.values() for name in by_name})
    series = [_series(tx, name, [blocks[attempt_id].get(name, []) for attempt_id in ids], max_points) for name in found]
    return JobMetrics(job_id=job_id, attempt=attempt, series=series)


def _attempt_ids(tx: Connection, project_id: str, job_id: str, attempt: int | None) -> list[str]:
    if tx.scalar(select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.project_id == project_id)) is None:
        raise NotFound
    query = select(attempts.c.id).where(attempts.c.job_id == job_id).order_by(attempts.c.number)
    if attempt is not None:
        query = query.where(attempts.c.number == attempt)
    ids = list(tx.scalars(query))
    if attempt is not None and not ids:
        raise NotFound
    return ids


Summary = Row[int, str, str, int, int, int, float | None, float | None]  # the columns of _SUMMARY


def _summaries(tx: Connection, ids: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, list[Summary]]]:
    """Block summaries by attempt and name, in the order in which they came."""
    blocks: dict[str, dict[str, list[Summary]]] = {attempt_id: {} for attempt_id in ids}
    query = _SUMMARY.where(metric_blocks.c.attempt_id.in_(ids)).order_by(metric_blocks.c.id)
    if names:
        query = query.where(metric_blocks.c.name.in_(names))
    for row in tx.execute(query):
        blocks[row.attempt_id].setdefault(row.name, []).append(row)
    return blocks


def _series(tx: Connection, name: str, by_attempt: Sequence[Sequence[Summary]], max_points: int) -> MetricSeries:
    blocks = _merged(tx, by_attempt)
    points = thin(blocks, max_points)
    order = sorted(range(len(points)), key=points.steps.__getitem__)  # stable; already so unless a run logged steps backwards
    lows = [block.minimum for block in blocks if block.minimum is not None]
    highs = [block.maximum for block in blocks if block.maximum is not None]
    return MetricSeries(
        name=name,
        steps=[points.steps[index] for index in order],
        values=[_json_number(points.values[index]) for index in order],
        times=[points.times[index] for index in order],
        num_points=sum(block.num_points for block in blocks),
        minimum=min(lows, default=None),
        maximum=max(highs, default=None),
        last=_json_number(points.values[-1]) if len(points) else None,
    )


def _json_number(value: float) -> float | None:
    return value if isfinite(value) else None


def _merged(tx: Connection, by_attempt: Sequence[Sequence[Summary]]) -> list[Block]:
    """The blocks of all attempts as one series: each attempt ends where a later one begins."""
    merged: list[Block] = []
    end: int | None = None
    for rows in reversed(by_attempt):
        merged[:0] = [block for row in rows if (block := _block_before(tx, row, end)) is not None]
        if rows:
            first = min(row.first_step for row in rows)
            end = first if end is None else min(end, first)
    return merged


def _block_before(tx: Connection, row: Summary, end: int | None) -> Block | None:
    """The block, or what of it lies before step ``end``, or None when nothing does."""
    if end is None or row.last_step < end:
        return Block(row.num_points, row.minimum, row.maximum, load=_loader(tx, row.id))
    if row.first_step >= end:
        return None
    points = _load(tx, row.id)
    kept = joined(points.cut(index, index + 1) for index, step in enumerate(points.steps) if step < end)
    minimum, maximum = finite_bounds(kept.values)
    return Block(len(kept), minimum, maximum, load=lambda: kept)


def _loader(tx: Connection, block_id: int) -> Callable[[], Points]:
    return lambda: _load(tx, block_id)


def _load(tx: Connection, block_id: int) -> Points:
    return unpack(tx.scalars(select(metric_blocks.c.points).where(metric_blocks.c.id == block_id)).one())
