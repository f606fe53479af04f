"""Cancels a job. The request is a fact of the ledger: it holds whether or not a worker is there to hear it."""

from datetime import datetime

from sqlalchemy import Connection

from core.jobs.asking import lock_job
from core.jobs.journal import Entry
from core.jobs.queries import get_job
from core.jobs.transitions import move_job
from core.states import FINAL, JobState, Reason
from core.wire.jobs import Job

_AT_REST = frozenset({JobState.QUEUED, JobState.PAUSED})


def cancel(tx: Connection, project_id: str, job_id: str, *, now: datetime) -> Job:
    """A job at rest is cancelled at once; one that runs is ``cancelling`` until its attempt has ended or is lost.

    A job that has ended, or is being cancelled, is answered as it is.
    """
    job = lock_job(tx, project_id, job_id)
    if job.state in _AT_REST:
        entry = Entry(type="job.cancelled", message="the job was cancelled before it ran on", data={"reason": Reason.CANCELLED})
        changes = {"reason": Reason.CANCELLED, "failure": None, "cancel_requested_at": now, "finished_at": now}
        move_job(tx, job.id, frozenset({job.state}), JobState.CANCELLED, now=now, entry=entry, changes=changes)
    elif job.state not in FINAL and job.state is not JobState.CANCELLING:
        entry = Entry(type="job.cancelling", message="cancel was asked for", attempt=job.newest_attempt)
        changes = {"cancel_requested_at": now}
        move_job(tx, job.id, frozenset({job.state}), JobState.CANCELLING, now=now, entry=entry, changes=changes)
    return get_job(tx, project_id, job_id)
