"""Forgets what is past its time."""

from datetime import datetime

from sqlalchemy import Connection, delete

from core.db.tables import idempotency_keys


def prune_idempotency(tx: Connection, before: datetime) -> int:
    """Drops remembered answers older than ``before``; how many."""
    return tx.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < before)).rowcount
