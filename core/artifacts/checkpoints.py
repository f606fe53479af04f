"""Checkpoints that the store holds whole: committed under the lease, pruned, offered to the next attempt."""

from datetime import datetime
from math import isfinite
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from core.artifacts.blobs import require_blobs
from core.db.tables import checkpoint_blobs, checkpoints, jobs
from core.errors import InvalidInput, NotFound, Problem
from core.ids import new_id
from core.jobs.journal import record
from core.jobs.leases import Fence
from core.manifest import Manifest
from core.retention.removals import refuse_removed
from core.wire.base import Page, page_of
from core.wire.jobs import Checkpoint
from core.wire.projects import Kind
from core.wire.worker import CheckpointRequest, CheckpointSource

KEPT = 2  # the newest; the best one is kept beside them

_COLUMNS = (
    checkpoints.c.id,
    checkpoints.c.job_id,
    checkpoints.c.attempt,
    checkpoints.c.step,
    checkpoints.c.num_bytes,
    checkpoints.c.is_best,
    checkpoints.c.metrics,
    checkpoints.c.created_at,
)
_NEWEST_FIRST = (checkpoints.c.attempt.desc(), checkpoints.c.step.desc())


def commit_checkpoint(tx: Connection, fence: Fence, request: CheckpointRequest, now: datetime) -> Checkpoint:
    """Makes a checkpoint visible, all of it or none; the same one again is a no-op.

    BlobMissing while bytes are not in the store. A step beyond the job's newest is progress: it gives the job its whole
    infrastructure budget back. Older checkpoints of the job go, except the newest two and the best.
    """
    check_paths(request.manifest)
    require_blobs(tx, request.manifest.files)
    same = (checkpoints.c.attempt_id == fence.attempt_id, checkpoints.c.step == request.step)
    checkpoint_id = tx.scalar(select(checkpoints.c.id).where(*same))
    if checkpoint_id is None:
        checkpoint_id = _insert(tx, fence, request, now)
        _note_progress(tx, fence, request.step, now)
        data = {"step": request.step, "num_bytes": request.manifest.num_bytes, "is_best": request.is_best}
        record(tx, fence.job_id, "checkpoint.stored", f"checkpoint of step {request.step} stored", at=now, attempt=fence.number, data=data)
    if request.is_best:
        _mark_best(tx, fence.job_id, checkpoint_id)
    _prune(tx, fence.job_id)
    row = tx.execute(select(*_COLUMNS).where(checkpoints.c.id == checkpoint_id)).one()
    return _checkpoint(row)


def check_paths(manifest: Manifest) -> None:
    """InvalidInput when two files have one path, also on a file system that ignores case."""
    seen: set[str] = set()
    for position, file in enumerate(manifest.files):
        folded = file.path.casefold()
        if folded in seen:
            raise InvalidInput(problems=[Problem(f"/manifest/files/{position}/path", f"{file.path!r} is there twice")])
        seen.add(folded)


def _insert(tx: Connection, fence: Fence, request: CheckpointRequest, now: datetime) -> str:
    checkpoint_id = new_id("ckpt")
    tx.execute(
        insert(checkpoints).values(
            id=checkpoint_id,
            job_id=fence.job_id,
            attempt_id=fence.attempt_id,
            attempt=fence.number,
            step=request.step,
            manifest=request.manifest.model_dump_json(),
            num_bytes=request.manifest.num_bytes,
            metrics={name: value for name, value in request.metrics.items() if isfinite(value)},
            created_at=now,
        )
    )
    digests = {file.sha256 for file in request.manifest.files}
    if digests:
        tx.execute(insert(checkpoint_blobs), [{"checkpoint_id": checkpoint_id, "sha256": sha256} for sha256 in sorted(digests)])
    return checkpoint_id


def _note_progress(tx: Connection, fence: Fence, step: int, now: datetime) -> None:
    rose = update(jobs).where(jobs.c.id == fence.job_id, jobs.c.checkpoint_step < step)
    tx.execute(rose.values(checkpoint_step=step, infrastructure_failures=0, node_failures=0, version=jobs.c.version + 1, updated_at=now))


def _mark_best(tx: Connection, job_id: str, checkpoint_id: str) -> None:
    tx.execute(update(checkpoints).where(checkpoints.c.job_id == job_id).values(is_best=checkpoints.c.id == checkpoint_id))


def _prune(tx: Connection, job_id: str) -> None:
    # By attempt before step: an attempt that had to go back behind a corrupt checkpoint must keep what it uploads.
    newest = select(checkpoints.c.id).where(checkpoints.c.job_id == job_id).order_by(*_NEWEST_FIRST).limit(KEPT)
    kept = tx.scalars(newest).all()
    old = tx.scalars(
        select(checkpoints.c.id).where(checkpoints.c.job_id == job_id, ~checkpoints.c.is_best, checkpoints.c.id.not_in(kept))
    ).all()
    if old:
        tx.execute(delete(checkpoint_blobs).where(checkpoint_blobs.c.checkpoint_id.in_(old)))
        tx.execute(delete(checkpoints).where(checkpoints.c.id.in_(old)))


def sources_for(tx: Connection, job_id: str) -> tuple[CheckpointSource, ...]:
    """What the next attempt may resume from, the furthest first; it takes the first that verifies."""
    columns = (checkpoints.c.attempt_id, checkpoints.c.attempt, checkpoints.c.step, checkpoints.c.manifest)
    furthest = select(*columns).where(checkpoints.c.job_id == job_id).order_by(checkpoints.c.step.desc(), checkpoints.c.attempt.desc())
    return tuple(
        CheckpointSource(attempt_id=row.attempt_id, attempt=row.attempt, step=row.step, manifest=Manifest.model_validate_json(row.manifest))
        for row in tx.execute(furthest)
    )


def list_checkpoints(tx: Connection, project_id: str, job_id: str, *, after: str | None = None, limit: int = 50) -> Page[Checkpoint]:
    """A job's checkpoints, newest first; NotFound for a job of another project, Removed when retention removed them."""
    if tx.scalar(select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.project_id == project_id)) is None:
        raise NotFound
    query = select(*_COLUMNS).where(checkpoints.c.job_id == job_id).order_by(checkpoints.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(checkpoints.c.id < after)
    page = page_of([_checkpoint(row) for row in tx.execute(query)], limit)
    if not page.data and after is None:
        refuse_removed(tx, project_id, Kind.CHECKPOINTS, job_id)
    return page


def _checkpoint(row: Any) -> Checkpoint:
    return Checkpoint.model_validate(dict(row._mapping))
