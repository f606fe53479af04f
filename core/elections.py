"""Lets one process at a time do a duty: the holder of an unexpired row, by the database's clock."""

from sqlalchemy import Connection

from core.db.clock import db_now
from core.db.conflict import insert_or
from core.db.tables import elections


def hold(tx: Connection, *, duty: str, holder: str, ttl_seconds: float) -> bool:
    """Takes or prolongs the duty; False while somebody else holds it. It must be called again within ``ttl_seconds``."""
    row = {"duty": duty, "holder": holder, "lease_until": db_now() + ttl_seconds}
    statement = insert_or(tx, elections).values(row)
    is_free = (elections.c.holder == holder) | (elections.c.lease_until < db_now())
    mine = {"holder": statement.excluded.holder, "lease_until": statement.excluded.lease_until}
    taken = statement.on_conflict_do_update(index_elements=["duty"], set_=mine, where=is_free)
    return bool(tx.execute(taken).rowcount == 1)


def resign(tx: Connection, *, duty: str, holder: str) -> None:
    """Gives the duty up, so that another process need not wait for the lease to end."""
    tx.execute(elections.delete().where(elections.c.duty == duty, elections.c.holder == holder))
