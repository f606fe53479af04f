"""Ends attempts whose lease ran out. The only writer of ``lost``, and the only judge of a lease."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, exists, select, text

from core.db.clock import db_now
from core.db.tables import attempts, members, workers
from core.jobs.ending import attempt_changes, decide, end_job, lock_ending_job
from core.jobs.transitions import move_attempt
from core.states import LIVE_ATTEMPT, AttemptState, Reason
from core.wire.jobs import Failure

_EXPIRED_MEMBER = exists().where(members.c.attempt_id == attempts.c.id, members.c.lease_until < db_now())
# The literal lets both databases use the partial index.
_CANDIDATES = (
    select(attempts.c.id)
    .where(text("attempts.state IN ('leased', 'running')"), _EXPIRED_MEMBER)
    .order_by(attempts.c.id)
    .limit(bindparam("at_most"))
)
# A row that is locked is being written to by its holder, or being ended: it is left for the next pass.
_LOCK = select(attempts.c.number).where(attempts.c.id == bindparam("attempt")).with_for_update(skip_locked=True, key_share=True)
_NODE = (
    select(workers.c.name)
    .join_from(members, workers, members.c.worker_id == workers.c.id)
    .where(members.c.attempt_id == bindparam("attempt"), members.c.lease_until < db_now())
    .order_by(members.c.lease_until)
    .limit(1)
)


def reap(tx: Connection, *, now: datetime, limit: int = 100) -> list[str]:
    """Ends at most ``limit`` live attempts whose lease is over by the database's clock; the ids of their jobs.

    The caller waits one whole ttl after its own start and after any outage of the ledger, so that nobody is
    found lost who only could not reach us.
    """
    lost = [_end(tx, attempt_id, now) for attempt_id in tx.scalars(_CANDIDATES, {"at_most": limit}).all()]
    return [job_id for job_id in lost if job_id is not None]


def _end(tx: Connection, attempt_id: str, now: datetime) -> str | None:
    """The job's id, or None when the attempt renewed or ended since it was seen."""
    number = tx.scalar(_LOCK, {"attempt": attempt_id})
    if number is None:
        return None
    node = tx.scalar(_NODE, {"attempt": attempt_id})
    job = lock_ending_job(tx, attempt_id)
    verdict = decide(job, Reason.NODE_LOST, now)
    failure = Failure(reason=Reason.NODE_LOST, message=f"the worker {node} was not heard of for a whole lease", attempt=number)
    changes = attempt_changes(job, verdict, failure, now)
    # Live and expired are judged again here, after the lock: a beat may have come since.
    if not move_attempt(tx, attempt_id, LIVE_ATTEMPT, AttemptState.LOST, changes=changes, only_if=_EXPIRED_MEMBER):
        return None
    end_job(tx, job, verdict, failure=failure, metrics={}, reported=Reason.NODE_LOST, now=now)
    job_id: str = job.row.id
    return job_id
