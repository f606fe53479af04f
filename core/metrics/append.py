"""Takes a batch of points into the ledger."""

from datetime import datetime
from math import isfinite

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, update

from core.db.tables import attempts, jobs, metric_blocks
from core.jobs.leases import Fence
from core.jobs.progress import note_progress
from core.metrics.pack import Points, block_row, from_wire, full_blocks, joined, unpack
from core.wire.worker import MetricsRequest

MERGE_EVERY = 16  # batches: one point is rewritten FULL / MERGE_EVERY times at most

_ATTEMPT = select(attempts.c.metric_seq, attempts.c.latest_metrics).where(attempts.c.id == bindparam("attempt"))
_ACCEPT = (
    update(attempts)
    .where(attempts.c.id == bindparam("attempt"), attempts.c.metric_seq < bindparam("seq"))
    .values(metric_seq=bindparam("seq"), latest_metrics=bindparam("latest"))
)
_TOUCH_JOB = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"))
    .values(version=jobs.c.version + 1, updated_at=bindparam("now", type_=jobs.c.updated_at.type))
)
# Each name's blocks from the first small one on: closed ones between are repacked too, for the order of ids is the order
# of points. The literal lets both databases use the partial index.
_FIRST_OPEN = (
    select(metric_blocks.c.name, func.min(metric_blocks.c.id).label("id"))
    .where(metric_blocks.c.attempt_id == bindparam("attempt"), text("num_points < 512"))
    .group_by(metric_blocks.c.name)
    .having(func.count() > 1)
    .subquery("first_open")
)
OPEN_BLOCKS = (
    select(metric_blocks.c.id, metric_blocks.c.name, metric_blocks.c.points)
    .join(_FIRST_OPEN, (metric_blocks.c.name == _FIRST_OPEN.c.name) & (metric_blocks.c.id >= _FIRST_OPEN.c.id))
    .where(metric_blocks.c.attempt_id == bindparam("attempt"))
    .order_by(metric_blocks.c.id)
)


def append(tx: Connection, fence: Fence, request: MetricsRequest, now: datetime) -> None:
    """Stores a batch for the attempt behind ``fence``; a batch whose seq was accepted before changes nothing.

    InvalidInput names the first series whose lists do not fit together; then nothing of the batch is stored.
    """
    series = {name: from_wire(name, points, request.seq) for name, points in request.series.items() if points.steps or points.values}
    known = tx.execute(_ATTEMPT, {"attempt": fence.attempt_id}).one()
    if request.seq <= known.metric_seq:
        return
    latest = {**(known.latest_metrics or {}), **_newest(series)}
    accepted = tx.execute(_ACCEPT, {"attempt": fence.attempt_id, "seq": request.seq, "latest": latest})
    if accepted.rowcount != 1:  # SQLite has one writer and PostgreSQL's fence locks the row, so this is a repeat at most
        return
    _insert(tx, fence.job_id, fence.attempt_id, series)
    if request.progress is not None:
        note_progress(tx, fence, request.progress, now)
    else:
        tx.execute(_TOUCH_JOB, {"job": fence.job_id, "now": now})
    if request.seq % MERGE_EVERY == 0:
        merge_open_blocks(tx, fence.job_id, fence.attempt_id)


def _newest(series: dict[str, Points]) -> dict[str, float]:
    """The last value of each name; one that is not finite cannot be written as JSON and leaves the older value."""
    return {name: points.values[-1] for name, points in series.items() if isfinite(points.values[-1])}


def _insert(tx: Connection, job_id: str, attempt_id: str, series: dict[str, Points]) -> None:
    rows = [block_row(job_id, attempt_id, name, block) for name, points in series.items() for block in full_blocks(points)]
    if rows:
        tx.execute(insert(metric_blocks), rows)


def merge_open_blocks(tx: Connection, job_id: str, attempt_id: str) -> None:
    """Packs the small blocks of an attempt into full ones; the points and their order stay."""
    blocks = tx.execute(OPEN_BLOCKS, {"attempt": attempt_id}).all()
    if not blocks:
        return
    by_name: dict[str, list[Points]] = {}
    for block in blocks:
        by_name.setdefault(block.name, []).append(unpack(block.points))
    tx.execute(delete(metric_blocks).where(metric_blocks.c.id.in_([block.id for block in blocks])))
    _insert(tx, job_id, attempt_id, {name: joined(parts) for name, parts in by_name.items()})
