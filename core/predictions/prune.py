"""Forgets requests whose callers are gone, rows and answers with them, and batches that nobody will answer."""

from sqlalchemy import Connection, delete

from core.db.clock import db_now
from core.db.prediction_tables import prediction_batches, prediction_requests

KEPT_SECONDS = 60.0  # a caller whose time is over may be reading the answer at this moment


def prune_predictions(tx: Connection) -> int:
    """How many requests were dropped."""
    tx.execute(delete(prediction_batches).where(prediction_batches.c.taken_until < db_now() - KEPT_SECONDS))
    return tx.execute(delete(prediction_requests).where(prediction_requests.c.expires_at < db_now() - KEPT_SECONDS)).rowcount
