"""Turns the chunks of an ended attempt into one object per stream. Off the request path; may be repeated at any point."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import delete, exists, select, text, update

from core.artifacts.blobs import note_blob
from core.artifacts.store import ByteStore
from core.db.engine import Database
from core.db.tables import attempts, log_chunks, log_streams
from core.output.streams import StreamKey
from core.states import LIVE_ATTEMPT

_LIVE = tuple(state.value for state in LIVE_ATTEMPT)


def compact_logs(db: Database, store: ByteStore, *, now: datetime, limit: int = 50) -> int:
    """Compacts streams of attempts that have ended, ``limit`` at most; returns how many."""
    with db.read() as tx:
        ended = (
            select(log_streams.c.attempt_id, log_streams.c.rank, log_streams.c.stream, log_streams.c.size)
            .where(text("NOT is_closed"), ~exists().where(attempts.c.id == log_streams.c.attempt_id, attempts.c.state.in_(_LIVE)))
            .limit(limit)
        )
        streams = tx.execute(ended).all()
    for row in streams:
        _compact(db, store, StreamKey(row.attempt_id, row.rank, row.stream), row.size, now)
    return len(streams)


def _compact(db: Database, store: ByteStore, key: StreamKey, size: int, now: datetime) -> None:
    # Nothing is appended any more: an ended attempt has no lease. A second compactor makes the same object of the same
    # chunks, and the slower of the two finds no row to update.
    sha256 = store.put(_chunks(db, key), owner=key.attempt_id) if size else None
    with db.begin() as tx:
        closed = tx.execute(
            update(log_streams).where(key.rows_of(log_streams), ~log_streams.c.is_closed).values(is_closed=True, blob_sha256=sha256)
        )
        if closed.rowcount != 1:
            return
        if sha256 is not None:
            note_blob(tx, sha256, size, now)
        tx.execute(delete(log_chunks).where(key.rows_of(log_chunks)))


def _chunks(db: Database, key: StreamKey) -> Iterator[bytes]:
    after = -1
    while True:
        with db.read() as tx:
            query = select(log_chunks.c.offset, log_chunks.c.bytes).where(key.rows_of(log_chunks), log_chunks.c.offset > after)
            row = tx.execute(query.order_by(log_chunks.c.offset).limit(1)).one_or_none()
        if row is None:
            return
        after = row.offset
        yield row.bytes
