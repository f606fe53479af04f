"""What jobs that have ended leave behind: their artifacts, checkpoints and logs, found when their time is over, and removed."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, select, update

from core.db.dataset_tables import dataset_versions
from core.db.model_tables import job_bases, model_requests, model_versions
from core.db.tables import artifacts, attempts, blobs, checkpoint_blobs, checkpoints, jobs, log_chunks, log_streams
from core.jobs.journal import record
from core.retention.policies import get_retention
from core.retention.removals import note_removal, told
from core.states import FINAL
from core.wire.projects import Kind

_ENDED = sorted(FINAL)
_BASED = jobs.alias("based")
_OF_JOB = exists().where(attempts.c.job_id == jobs.c.id, log_streams.c.attempt_id == attempts.c.id)

_DUE: dict[Kind, tuple[ColumnElement[bool], ...]] = {
    Kind.ARTIFACTS: (
        exists().where(artifacts.c.job_id == jobs.c.id),
        # A job that has not ended starts from its package.
        ~exists().where(job_bases.c.base_job_id == jobs.c.id, _BASED.c.id == job_bases.c.job_id, _BASED.c.state.not_in(_ENDED)),
        # Its package is a version of a model, or is about to become one: nothing would be freed.
        ~exists().where(model_versions.c.job_id == jobs.c.id),
        ~exists().where(model_requests.c.job_id == jobs.c.id),
        # They are the profile of a dataset's version, or files that wait to become one.
        ~exists().where(dataset_versions.c.job_id == jobs.c.id),
    ),
    Kind.CHECKPOINTS: (exists().where(checkpoints.c.job_id == jobs.c.id),),
    Kind.LOGS: (_OF_JOB, ~_OF_JOB.where(~log_streams.c.is_closed)),
}


def due_outputs(tx: Connection, project_id: str, kind: Kind, before: datetime, limit: int) -> list[str]:
    """Jobs that ended before ``before`` and still have what is to go, those that ended first before others."""
    return list(tx.scalars(_due(project_id, kind, before).order_by(jobs.c.finished_at).limit(limit)))


def remove_outputs(tx: Connection, project_id: str, job_id: str, kind: Kind, now: datetime) -> bool:
    """Removes what the job has of this kind and says so in its journal; False when it is not due any more."""
    days = get_retention(tx, project_id).days(kind)
    # A submit that starts from this job holds its row by a shared lock: after this one it is seen below.
    tx.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update())
    if days is None or not tx.scalars(_due(project_id, kind, now - timedelta(days=days)).where(jobs.c.id == job_id)).all():
        return False
    num_bytes = _REMOVE[kind](tx, job_id, now)
    removal = note_removal(tx, project_id, kind, job_id, days=days, num_bytes=num_bytes, now=now)
    data = {"rule": removal.rule, "num_bytes": num_bytes}
    record(tx, job_id, f"{kind}.removed", told(removal), at=now, data=data)
    return True


def _due(project_id: str, kind: Kind, before: datetime) -> Select[tuple[str]]:
    ended = (jobs.c.project_id == project_id, jobs.c.state.in_(_ENDED), jobs.c.finished_at < before)
    return select(jobs.c.id).where(*ended, *_DUE[kind])


def _remove_artifacts(tx: Connection, job_id: str, now: datetime) -> int:
    of_job = artifacts.c.job_id == job_id
    num_bytes = _total(tx, select(func.sum(artifacts.c.size)).where(of_job))
    # Young again, they outlive whoever has just read the list to make a model of it.
    tx.execute(update(blobs).where(blobs.c.sha256.in_(select(artifacts.c.sha256).where(of_job))).values(created_at=now))
    tx.execute(delete(artifacts).where(of_job))
    return num_bytes


def _remove_checkpoints(tx: Connection, job_id: str, now: datetime) -> int:
    of_job = checkpoints.c.job_id == job_id
    num_bytes = _total(tx, select(func.sum(checkpoints.c.num_bytes)).where(of_job))
    tx.execute(delete(checkpoint_blobs).where(checkpoint_blobs.c.checkpoint_id.in_(select(checkpoints.c.id).where(of_job))))
    tx.execute(delete(checkpoints).where(of_job))
    return num_bytes


def _remove_logs(tx: Connection, job_id: str, now: datetime) -> int:
    of_job = select(attempts.c.id).where(attempts.c.job_id == job_id)
    num_bytes = _total(tx, select(func.sum(log_streams.c.size)).where(log_streams.c.attempt_id.in_(of_job)))
    for table in (log_chunks, log_streams):
        tx.execute(delete(table).where(table.c.attempt_id.in_(of_job)))
    return num_bytes


def _total(tx: Connection, query: Select[tuple[int]]) -> int:
    return int(tx.scalar(query) or 0)


_REMOVE: dict[Kind, Callable[[Connection, str, datetime], int]] = {
    Kind.ARTIFACTS: _remove_artifacts,
    Kind.CHECKPOINTS: _remove_checkpoints,
    Kind.LOGS: _remove_logs,
}
