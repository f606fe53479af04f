"""Queues a paused job again; its next attempt goes on from the newest checkpoint."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.errors import IllegalMove
from core.jobs.asking import lock_job
from core.jobs.fail_waiting import fail_waiting
from core.jobs.journal import Entry
from core.jobs.queries import get_job
from core.jobs.transitions import move_job
from core.states import JobState
from core.wire.jobs import Job


def resume(tx: Connection, project_id: str, job_id: str, *, now: datetime) -> Job:
    """IllegalMove unless the job is paused: one that is still pausing has a checkpoint to finish first.

    One whose dataset has turned out invalid meanwhile is answered failed.
    """
    job = lock_job(tx, project_id, job_id)
    if job.state is not JobState.PAUSED:
        raise IllegalMove(f"only a paused job can be resumed; this one is {job.state}")
    entry = Entry(type="job.resumed", message="the job is queued again")
    changes = {"reason": None}
    move_job(tx, job.id, frozenset({job.state}), JobState.QUEUED, now=now, entry=entry, changes=changes, available_in=timedelta())
    fail_waiting(tx, now, job_id=job.id)
    return get_job(tx, project_id, job_id)
