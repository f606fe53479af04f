"""Reads of jobs and attempts. Everything is asked for within a project: another project's ids answer like unknown ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from sqlalchemy import Connection, bindparam, exists, func, select, text

from core.db.base import AnyRow
from core.db.clock import db_now
from core.db.tables import attempts, job_labels, jobs, members, workers
from core.errors import NotFound
from core.jobs.awaited import DATA_IS_READY, awaited_by
from core.jobs.fleet import NEED_COLUMNS, Fleet, Need
from core.jobs.render import JOB_COLUMNS, job_model, job_text
from core.states import FINAL, LIVE_ATTEMPT, AttemptState, JobState
from core.wire.base import Page, page_of
from core.wire.jobs import Attempt, Job

_NEWEST_ATTEMPT = (attempts.c.job_id == jobs.c.id) & (attempts.c.number == jobs.c.num_attempts)
_JOBS = select(*JOB_COLUMNS).outerjoin_from(jobs, attempts, _NEWEST_ATTEMPT)
_MINE = (jobs.c.id == bindparam("job"), jobs.c.project_id == bindparam("project"))
_JOB = _JOBS.where(*_MINE)
_REFERENCE = select(jobs.c.id, jobs.c.state, jobs.c.event_seq, jobs.c.version, jobs.c.num_attempts).where(*_MINE)
_VERSION = select(jobs.c.id, jobs.c.state, jobs.c.version, *NEED_COLUMNS).where(*_MINE)
_COUNTS = select(jobs.c.state, func.count()).group_by(jobs.c.state)
_CLAIMABLE = select(jobs.c.id).where(text("state = 'queued'"), jobs.c.available_at <= db_now(), DATA_IS_READY).limit(1)
_ATTEMPTS = (
    select(
        attempts.c.id,
        attempts.c.job_id,
        attempts.c.number,
        attempts.c.state,
        attempts.c.reason,
        attempts.c.forced,
        attempts.c.launched,
        attempts.c.resumed_from_step,
        attempts.c.progress,
        attempts.c.failure,
        attempts.c.created_at,
        attempts.c.started_at,
        attempts.c.finished_at,
        members.c.devices,
        workers.c.name.label("worker"),
    )
    .join_from(jobs, attempts, attempts.c.job_id == jobs.c.id)
    .outerjoin(members, (members.c.attempt_id == attempts.c.id) & (members.c.node_rank == 0))
    .outerjoin(workers, members.c.worker_id == workers.c.id)
    .where(*_MINE)
)


@dataclass(frozen=True, slots=True)
class JobRef:
    """The little that most callers want to know of a job."""

    id: str
    state: JobState
    event_seq: int
    version: int
    num_attempts: int


class JobVersion(NamedTuple):
    """``number`` is another one whenever ``job_json`` answers otherwise: what an ETag is made of."""

    number: int
    is_terminal: bool


class JobJson(NamedTuple):
    body: bytes
    version: JobVersion


def require_job(tx: Connection, project_id: str, job_id: str) -> JobRef:
    """NotFound unless the job is this project's."""
    row = tx.execute(_REFERENCE, {"job": job_id, "project": project_id}).one_or_none()
    if row is None:
        raise NotFound
    return JobRef(row.id, JobState(row.state), row.event_seq, row.version, row.num_attempts)


def get_job(tx: Connection, project_id: str, job_id: str) -> Job:
    row = _find(tx, project_id, job_id)
    return job_model(row, waiting_for(tx, row))


def job_json(tx: Connection, project_id: str, job_id: str) -> JobJson:
    """``get_job`` as JSON text, without reading the spec in it."""
    row = _find(tx, project_id, job_id)
    waiting = waiting_for(tx, row)
    return JobJson(job_text(row, waiting), _version(row, waiting))


def job_version(tx: Connection, project_id: str, job_id: str) -> JobVersion:
    """What ``job_json`` would say of itself, for less."""
    row = tx.execute(_VERSION, {"job": job_id, "project": project_id}).one_or_none()
    if row is None:
        raise NotFound
    return _version(row, waiting_for(tx, row))


def list_jobs(
    tx: Connection,
    project_id: str,
    *,
    after: str | None = None,
    limit: int = 20,
    state: JobState | None = None,
    recipe: str | None = None,
    label: str | None = None,
) -> Page[Job]:
    """Newest first; rows that come in while a client pages neither repeat nor hide others. ``label`` is ``key=value``."""
    query = _JOBS.where(jobs.c.project_id == project_id).order_by(jobs.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(jobs.c.id < after)
    if state is not None:
        query = query.where(jobs.c.state == state)
    if recipe is not None:
        query = query.where(jobs.c.recipe == recipe)
    if label is not None:
        key, _, value = label.partition("=")
        query = query.where(exists().where(job_labels.c.job_id == jobs.c.id, job_labels.c.key == key, job_labels.c.value == value))
    rows = tx.execute(query).all()
    waits = _waits(tx, [row for row in rows if row.state == JobState.QUEUED])
    return page_of([job_model(row, waits.get(row.id)) for row in rows], limit)


def list_attempts(tx: Connection, project_id: str, job_id: str, *, after: str | None = None, limit: int = 20) -> Page[Attempt]:
    """The job's attempts, newest first; NotFound for a job of another project."""
    require_job(tx, project_id, job_id)
    query = _ATTEMPTS.order_by(attempts.c.number.desc()).limit(limit + 1)
    if after is not None:
        cursor = attempts.alias()
        number = select(cursor.c.number).where(cursor.c.id == after, cursor.c.job_id == job_id).scalar_subquery()
        query = query.where(attempts.c.number < number)
    rows = tx.execute(query, {"job": job_id, "project": project_id})
    return page_of([_attempt(row) for row in rows], limit)


def get_attempt(tx: Connection, project_id: str, job_id: str, number: int) -> Attempt:
    query = _ATTEMPTS.where(attempts.c.number == number)
    row = tx.execute(query, {"job": job_id, "project": project_id}).one_or_none()
    if row is None:
        raise NotFound
    return _attempt(row)


def count_jobs(tx: Connection) -> dict[JobState, int]:
    """How many jobs of all projects are in each state."""
    counts = {JobState(state): count for state, count in tx.execute(_COUNTS)}
    return {state: counts.get(state, 0) for state in JobState}


def has_claimable(tx: Connection) -> bool:
    """Whether a queued job could be claimed now, if there were a worker for it."""
    return tx.scalar(_CLAIMABLE) is not None


def waiting_for(tx: Connection, row: AnyRow) -> str | None:
    """What a queued job waits for, in words; None in other states. ``row`` has the id, the state and the columns of a Need."""
    return _waits(tx, [row])[row.id] if row.state == JobState.QUEUED else None


def _find(tx: Connection, project_id: str, job_id: str) -> AnyRow:
    row = tx.execute(_JOB, {"job": job_id, "project": project_id}).one_or_none()
    if row is None:
        raise NotFound
    return row


def _waits(tx: Connection, queued: Sequence[AnyRow]) -> dict[str, str]:
    """What each of these jobs waits for: data before anything else, for no worker takes a job without it."""
    if not queued:
        return {}
    awaited, fleet = awaited_by(tx, [row.id for row in queued]), Fleet.load(tx)
    return {row.id: awaited.get(row.id) or fleet.waiting_for(Need.of(row)) for row in queued}


def _version(row: AnyRow, waiting: str | None) -> JobVersion:
    # What a queued job waits for depends on the workers too, whose changes do not touch its row.
    number = row.version << 32 | (crc32(waiting.encode()) if waiting else 0)
    return JobVersion(number, JobState(row.state) in FINAL)


def _attempt(row: AnyRow) -> Attempt:
    is_terminal = AttemptState(row.state) not in LIVE_ATTEMPT
    return Attempt.model_validate({**row._mapping, "devices": row.devices or [], "is_terminal": is_terminal})
