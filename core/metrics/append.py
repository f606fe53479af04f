"""Takes a batch of points into the ledger."""

from datetime import datetime
from math import isfinite

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

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
# The literal lets both databases use the partial index.
_OPEN = (
    select(metric_blocks.c.name, metric_blocks.c.id)
    .where(metric_blocks.c.attempt_id == bindparam("attempt"), text("num_points < 512"))
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
    open_ids: dict[str, list[int]] = {}
    for name, block_id in tx.execute(_OPEN, {"attempt": attempt_id}):
        open_ids.setdefault(name, []).append(block_id)
    for name, ids in open_ids.items():
        if len(ids) > 1:
            _repack(tx, job_id, attempt_id, name, first_id=ids[0])


def _repack(tx: Connection, job_id: str, attempt_id: str, name: str, *, first_id: int) -> None:
    # Closed blocks between the small ones are repacked too: the order of ids is the order of points.
    since = (metric_blocks.c.attempt_id == attempt_id, metric_blocks.c.name == name, metric_blocks.c.id >= first_id)
    packed = tx.scalars(select(metric_blocks.c.points).where(*since).order_by(metric_blocks.c.id)).all()
    tx.execute(delete(metric_blocks).where(*since))
    _insert(tx, job_id, attempt_id, {name: joined(map(unpack, packed))})
