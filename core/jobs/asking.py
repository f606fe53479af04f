"""What a person asks of a job begins with its row, locked, so that whoever ends it meanwhile comes before or after."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from core.db.tables import jobs
from core.errors import NotFound
from core.states import JobState

_LOCK = (
    select(jobs.c.id, jobs.c.state, jobs.c.num_attempts)
    .where(jobs.c.id == bindparam("job"), jobs.c.project_id == bindparam("project"))
    .with_for_update(key_share=True)
)


@dataclass(frozen=True, slots=True)
class LockedJob:
    id: str
    state: JobState
    newest_attempt: int | None


def lock_job(tx: Connection, project_id: str, job_id: str) -> LockedJob:
    """NotFound unless the job is this project's. No attempt may be locked after this, see ``leases``."""
    row = tx.execute(_LOCK, {"job": job_id, "project": project_id}).one_or_none()
    if row is None:
        raise NotFound
    return LockedJob(row.id, JobState(row.state), row.num_attempts or None)
