"""The engine, and the only two ways to a connection: ``begin`` writes and commits, ``read`` does neither.

This is the only module that commits.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from core.db.clock import db_now
from core.errors import StorageFull, Unavailable

BUSY_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 10_000


class Database:
    """One ledger: SQLite (a file, WAL) or PostgreSQL.

    On SQLite writers of this process queue behind one lock: SQLite's own waiting is unfair (a 40-thread p99 of seconds
    against 0.26 s). Connection faults surface as ``Unavailable``, a full disk as ``StorageFull``.
    """

    def __init__(self, url: str, *, pool_size: int = 16) -> None:
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url, pool_size)
        self._snapshots = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        self._writer = threading.Lock() if self.is_sqlite else nullcontext()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A write transaction: committed when the block ends, rolled back when it raises."""
        writing = self.engine.execution_options(trainyard_writes=True)
        with self._writer, _translated(), writing.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; nothing done here is kept."""
        with _translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Like ``read``, and all its statements see the ledger as it was at the first one, on PostgreSQL too."""
        with _translated(), self._snapshots.connect() as connection:
            yield connection

    def now(self) -> ColumnElement[float]:
        """The database's clock as Unix seconds: the only clock that may judge a lease."""
        return db_now()

    def dispose(self) -> None:
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig)
        if "disk is full" in text or "No space left" in text:
            raise StorageFull("the ledger's disk is full") from error
        if isinstance(error, OperationalError) or error.connection_invalidated:
            raise Unavailable("the ledger cannot be reached right now") from error
        raise


def _postgres_engine(url: str, pool_size: int) -> Engine:
    options = f"-c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC -c idle_in_transaction_session_timeout=60000"
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"options": options, "connect_timeout": 5},
    )


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come late and deferred
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("trainyard_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
