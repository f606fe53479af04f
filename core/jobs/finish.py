"""A supervisor reports how its attempt ended. The first report that is committed stands; the same one again is answered alike."""

from datetime import datetime
from math import isfinite

from sqlalchemy import Connection, select

from core.db.tables import attempts, events, members
from core.errors import InvalidInput, LeaseLost, Problem
from core.jobs.ending import attempt_changes, decide, end_job, lock_ending_job
from core.jobs.leases import fence, lease_sha256
from core.jobs.transitions import move_attempt
from core.states import EFFECTS, LIVE_ATTEMPT, AttemptState, Reason
from core.wire.jobs import Failure
from core.wire.worker import FinishReply, FinishRequest

KEPT_CHARACTERS = 16_384  # of a stack and of a log's tail


def finish(tx: Connection, attempt_id: str, token: str, request: FinishRequest, now: datetime) -> FinishReply:
    """Ends the attempt and does to the job what the reason's effect, the retry policy and any request for it say.

    A repeated report, whose first answer was lost, gets that answer again. LeaseLost when the lease had passed on.
    """
    if request.reason is Reason.NODE_LOST:
        raise InvalidInput(problems=[Problem("/reason", "only the service itself finds a node lost")])
    try:
        held = fence(tx, attempt_id, token)
    except LeaseLost:
        return _answer_again(tx, attempt_id, token, request.reason)
    job = lock_ending_job(tx, attempt_id)
    verdict = decide(job, request.reason, now)
    failure = _failure(request, verdict.attempt_reason, held.number) if verdict.is_failure else None
    changes = {**attempt_changes(job, verdict, failure, now), "forced": request.forced}
    if not move_attempt(tx, attempt_id, LIVE_ATTEMPT, EFFECTS[verdict.attempt_reason].attempt, changes=changes):
        raise LeaseLost
    metrics = {name: value for name, value in request.metrics.items() if isfinite(value)}
    return end_job(tx, job, verdict, failure=failure, metrics=metrics, reported=request.reason, now=now)


def _failure(request: FinishRequest, reason: Reason, attempt: int) -> Failure:
    return Failure(
        reason=reason,
        message=request.message or EFFECTS[reason].meaning,
        attempt=attempt,
        rank=request.rank,
        exit_code=request.exit_code,
        stack=_end_of(request.stack),
        log_tail=_end_of(request.log_tail),
    )


def _end_of(text: str | None) -> str | None:
    """What is shown with every look at the job must stay small; the whole output is in the logs."""
    return None if text is None else text[-KEPT_CHARACTERS:]


def _answer_again(tx: Connection, attempt_id: str, token: str, reason: Reason) -> FinishReply:
    """The answer that this token got for this reason; LeaseLost when another ending stands."""
    ended = (
        select(events.c.data, attempts.c.job_id)
        .join_from(members, attempts, members.c.attempt_id == attempts.c.id)
        .join(events, (events.c.job_id == attempts.c.job_id) & (events.c.attempt == attempts.c.number))
        .where(
            attempts.c.id == attempt_id,
            attempts.c.state != AttemptState.LOST,
            members.c.lease_sha256 == lease_sha256(token),
            events.c.type == "attempt." + attempts.c.state,
        )
        .order_by(events.c.seq.desc())
    )
    row = tx.execute(ended.limit(1)).one_or_none()
    if row is None or row.data.get("reported") != reason:
        raise LeaseLost
    return FinishReply(job_id=row.job_id, job_state=row.data["job_state"], retry_at=row.data["retry_at"])
