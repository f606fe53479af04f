"""Leases: who may write for an attempt. Every write of a supervisor passes ``fence`` in its own transaction.

Locks are taken in one order everywhere, attempt before job, so that no two verbs wait for each other in a ring.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Double, bindparam, select, update

from core.db.base import AnyRow
from core.db.clock import db_now
from core.db.tables import attempts, jobs, members, workers
from core.errors import LeaseLost
from core.jobs.journal import record
from core.jobs.transitions import move_attempt
from core.states import LIVE_ATTEMPT, AttemptState, Control, JobState
from core.wire.worker import StartRequest

PREFIX = "lease_"

_HELD = (
    select(
        attempts.c.id.label("attempt_id"),
        attempts.c.job_id,
        attempts.c.number,
        attempts.c.state.label("attempt_state"),
        attempts.c.control,
        members.c.worker_id,
        jobs.c.project_id,
        jobs.c.state.label("job_state"),
        jobs.c.event_seq,
    )
    .join_from(members, attempts, members.c.attempt_id == attempts.c.id)
    .join(jobs, attempts.c.job_id == jobs.c.id)
    .where(
        attempts.c.id == bindparam("attempt"),
        members.c.lease_sha256 == bindparam("sha256"),
        attempts.c.state.in_(sorted(LIVE_ATTEMPT)),
    )
)
# The reaper needs the same row lock before it may end the attempt, so it cannot pass a write that is under way.
_FENCE = _HELD.with_for_update(of=attempts, key_share=True)
_RENEW = (
    update(members)
    .where(members.c.attempt_id == bindparam("attempt"), members.c.lease_sha256 == bindparam("sha256"))
    .values(lease_until=db_now() + bindparam("ttl", type_=Double()))
)
_STARTED = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.started_at.is_(None))
    .values(started_at=bindparam("now", type_=jobs.c.started_at.type))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Proof, for the rest of the transaction, that the caller holds the lease of a live attempt."""

    attempt_id: str
    job_id: str
    project_id: str
    number: int
    worker_id: str
    control: Control
    attempt_state: AttemptState
    job_state: JobState
    event_seq: int


def new_lease_token() -> str:
    """256 random bits behind a prefix that scanners of logs and code can recognise."""
    return PREFIX + secrets.token_urlsafe(32)


def lease_sha256(token: str) -> str:
    """What the ledger keeps of a token; its entropy makes a slow hash needless."""
    return hashlib.sha256(token.encode()).hexdigest()


def fence(tx: Connection, attempt_id: str, token: str) -> Fence:
    """Locks the attempt for this transaction; LeaseLost unless it is live and the token is its own."""
    return _held(tx.execute(_FENCE, _key(attempt_id, token)).one_or_none())


def control_of(tx: Connection, attempt_id: str, token: str) -> Control:
    """The present control word, without a lock; LeaseLost as ``fence``."""
    return _held(tx.execute(_HELD, _key(attempt_id, token)).one_or_none()).control


def renew(tx: Connection, attempt_id: str, token: str, ttl_seconds: float) -> Fence:
    """The lease now ends ``ttl_seconds`` from now by the database's clock. A late beat counts while the attempt is live."""
    held = fence(tx, attempt_id, token)
    tx.execute(_RENEW, {**_key(attempt_id, token), "ttl": ttl_seconds})
    return held


def start(tx: Connection, attempt_id: str, token: str, request: StartRequest, now: datetime) -> Fence:
    """The supervisor has begun; saying so again changes nothing."""
    held = fence(tx, attempt_id, token)
    if held.attempt_state is AttemptState.RUNNING:
        return held
    changes = {"launched": request.launched, "resumed_from_step": request.resumed_from_step, "started_at": now}
    move_attempt(tx, attempt_id, frozenset({AttemptState.LEASED}), AttemptState.RUNNING, changes=changes)
    tx.execute(_STARTED, {"job": held.job_id, "now": now})
    worker = tx.scalar(select(workers.c.name).where(workers.c.id == held.worker_id))
    whence = "" if request.resumed_from_step is None else f", from the checkpoint of step {request.resumed_from_step}"
    message = f"attempt {held.number} started on {worker}{whence}"
    data = {**request.model_dump(mode="json"), "worker": worker}
    record(tx, held.job_id, "attempt.started", message, at=now, attempt=held.number, data=data)
    return held


def _key(attempt_id: str, token: str) -> dict[str, str]:
    return {"attempt": attempt_id, "sha256": lease_sha256(token)}


def _held(row: AnyRow | None) -> Fence:
    if row is None:
        raise LeaseLost
    columns = dict(row._mapping)
    job_state = JobState(columns["job_state"])
    control = _ASKED_FOR.get(job_state) or Control(columns["control"])
    return Fence(**{**columns, "job_state": job_state, "control": control, "attempt_state": AttemptState(columns["attempt_state"])})


# What was asked of the job outranks a drain of its worker: the drain would only bring the job back.
_ASKED_FOR = {JobState.CANCELLING: Control.CANCEL, JobState.PAUSING: Control.PAUSE}
