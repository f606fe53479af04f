"""Pauses a job: it keeps its checkpoints and gives its devices back."""

from datetime import datetime

from sqlalchemy import Connection

from core.errors import IllegalMove
from core.jobs.asking import lock_job
from core.jobs.journal import Entry
from core.jobs.queries import get_job
from core.jobs.transitions import move_job
from core.states import JobState, Reason
from core.wire.jobs import Job

_ALREADY = frozenset({JobState.PAUSING, JobState.PAUSED})


def pause(tx: Connection, project_id: str, job_id: str, *, now: datetime) -> Job:
    """A queued job rests at once; a running one is ``pausing`` until its attempt has written a checkpoint and ended.

    Asking again changes nothing. IllegalMove for a job that has ended or is being cancelled.
    """
    job = lock_job(tx, project_id, job_id)
    if job.state is JobState.QUEUED:
        entry = Entry(type="job.paused", message="the job is paused", data={"reason": Reason.PAUSED})
        move_job(tx, job.id, frozenset({job.state}), JobState.PAUSED, now=now, entry=entry, changes={"reason": Reason.PAUSED})
    elif job.state is JobState.RUNNING:
        entry = Entry(type="job.pausing", message="pause was asked for", attempt=job.newest_attempt)
        move_job(tx, job.id, frozenset({job.state}), JobState.PAUSING, now=now, entry=entry)
    elif job.state not in _ALREADY:
        raise IllegalMove(f"a job that is {job.state} cannot be paused")
    return get_job(tx, project_id, job_id)
