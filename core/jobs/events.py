"""Reads a job's journal."""

from sqlalchemy import Connection, bindparam, select

from core.db.tables import events
from core.jobs.queries import require_job
from core.wire.jobs import Event

_AFTER = (
    select(events.c.seq, events.c.type, events.c.at, events.c.attempt, events.c.message, events.c.data)
    .where(events.c.job_id == bindparam("job"), events.c.seq > bindparam("seq"))
    .order_by(events.c.seq)
    .limit(bindparam("at_most"))
)


def list_events(tx: Connection, project_id: str, job_id: str, *, after: int = 0, limit: int = 100) -> list[Event]:
    """At most ``limit`` entries that follow the one numbered ``after``, oldest first; NotFound for a job of another project."""
    require_job(tx, project_id, job_id)
    rows = tx.execute(_AFTER, {"job": job_id, "seq": after, "at_most": limit})
    return [Event.model_validate(dict(row._mapping)) for row in rows]
