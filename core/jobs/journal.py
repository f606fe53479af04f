"""The journal of a job: what happened to it, numbered from 1 without a gap, written together with what it tells of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, update

from core.db.tables import events, jobs

_NEXT = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"))
    .values(event_seq=jobs.c.event_seq + 1, version=jobs.c.version + 1, updated_at=bindparam("at", type_=jobs.c.updated_at.type))
    .returning(jobs.c.event_seq)
)
_INSERT = insert(events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a journal, before it has a number."""

    type: str
    message: str
    attempt: int | None = None
    data: Mapping[str, object] = field(default_factory=dict)


def record(
    tx: Connection,
    job_id: str,
    type: str,
    message: str,
    *,
    at: datetime,
    attempt: int | None = None,
    data: Mapping[str, object] | None = None,
) -> int:
    """Appends a line and answers its number. The job's version rises with it, so that a cached answer ends."""
    seq: int = tx.execute(_NEXT, {"job": job_id, "at": at}).scalar_one()
    write(tx, job_id, seq, Entry(type=type, message=message, attempt=attempt, data=data or {}), at)
    return seq


def write(tx: Connection, job_id: str, seq: int, entry: Entry, at: datetime) -> None:
    """Stores a line under a number that the caller has taken from ``jobs.event_seq`` in this transaction."""
    # What programs print on their way out may hold NUL, which PostgreSQL's text cannot.
    row = {"job_id": job_id, "seq": seq, "at": at, "type": entry.type, "message": entry.message.replace("\0", "\ufffd")}
    tx.execute(_INSERT, {**row, "attempt": entry.attempt, "data": dict(entry.data)})
