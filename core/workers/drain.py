"""Empties a node: it claims nothing more, and its attempts hear the word that makes them checkpoint and leave."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text, update

from core.db.tables import attempts, members, workers
from core.errors import NotFound
from core.jobs.journal import record
from core.states import Control

# In the order of ids, and locked: see the order of locks in core/jobs/leases.py.
_RUNNING = (
    select(attempts.c.id, attempts.c.job_id, attempts.c.number)
    .join_from(members, attempts, members.c.attempt_id == attempts.c.id)
    .where(members.c.worker_id == bindparam("worker"), text("attempts.state IN ('leased', 'running')"))
    .where(attempts.c.control == Control.CONTINUE)
    .order_by(attempts.c.id)
    .with_for_update(of=attempts, key_share=True)
)
_TELL = update(attempts).where(attempts.c.id == bindparam("attempt")).values(control=Control.DRAIN)


def drain(tx: Connection, worker_id: str, *, now: datetime, leaving: bool = False) -> list[str]:
    """The node is emptied; the ids of the jobs whose attempts are told now.

    ``leaving`` is for a node that shuts down: it is back in service when it registers again, unless an operator had it
    drained. NotFound for an unknown worker.
    """
    name = _set_draining(tx, worker_id, leaving=leaving)
    told = tx.execute(_RUNNING, {"worker": worker_id}).all()
    for row in told:
        tx.execute(_TELL, {"attempt": row.id})
        record(tx, row.job_id, "attempt.draining", f"{name} is being drained", at=now, attempt=row.number)
    return [row.job_id for row in told]


def undrain(tx: Connection, worker_id: str) -> None:
    """The node may claim again. Attempts that were told to leave do leave: their ranks may have stopped already."""
    back = update(workers).where(workers.c.id == worker_id).values(is_draining=False, is_leaving=False)
    if tx.execute(back).rowcount != 1:
        raise NotFound


def _set_draining(tx: Connection, worker_id: str, *, leaving: bool) -> str:
    drained = update(workers).where(workers.c.id == worker_id).values(is_draining=True)
    # An operator's drain outlives the node's own; the node's own does not weaken an operator's.
    is_leaving = ((~workers.c.is_draining) | workers.c.is_leaving) if leaving else False
    name: str | None = tx.execute(drained.values(is_leaving=is_leaving).returning(workers.c.name)).scalar_one_or_none()
    if name is None:
        raise NotFound
    return name
