"""The engine, and the only two ways to a connection: ``begin`` writes and commits, ``read`` does neither.

This is the only module that commits.
"""

import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from core.db.clock import db_now
from core.errors import InvalidInput, StorageFull, Unavailable

BUSY_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 10_000
REST_SECONDS = 1.0


class Database:
    """One ledger: SQLite (a file, WAL) or PostgreSQL.

    On SQLite writers of this process take turns and share commits, see ``_TurnTaker``. Connection faults surface as
    ``Unavailable``, a full disk as ``StorageFull``.
    """

    def __init__(self, url: str, *, pool_size: int = 16) -> None:
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        make = _sqlite_engine if self.is_sqlite else _postgres_engine
        self.engine = make(url, pool_size, reads_only=False)
        self._readers = make(url, pool_size, reads_only=True)
        # One statement is one view on PostgreSQL with or without a transaction; without one, two round trips are saved.
        self._reads = self._readers if self.is_sqlite else self._readers.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshots = self._readers if self.is_sqlite else self._readers.execution_options(isolation_level="REPEATABLE READ")
        self._begin = _TurnTaker(self.engine).begin if self.is_sqlite else self.engine.begin

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A write transaction: durable when the block has ended, undone when it raises. Blocks must not be nested."""
        with _translated(), self._begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """For reading alone; the database refuses writes. On PostgreSQL each statement sees the newest commits."""
        with _translated(), self._reads.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Like ``read``, and all its statements see the ledger as it was at the first one."""
        with _translated(), self._snapshots.connect() as connection:
            yield connection

    def now(self) -> ColumnElement[float]:
        """The database's clock as Unix seconds: the only clock that may judge a lease."""
        return db_now()

    def dispose(self) -> None:
        self.engine.dispose()
        self._readers.dispose()


@dataclass(slots=True, eq=False)
class _Group:
    """Writes that share one transaction, and so one sync of the disk."""

    connection: Connection
    full_after: float  # by time.monotonic()
    num_writes: int = 0
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One write of the group; when it raises, it alone is undone."""
        if self.num_writes == 0:
            yield self.connection
        else:
            with self.connection.begin_nested():
                yield self.connection
        self.num_writes += 1

    @property
    def is_alive(self) -> bool:
        """False when SQLite has given the whole transaction up, which it does on a full disk or a failing one."""
        driver: Any = self.connection.connection.driver_connection
        return bool(driver.in_transaction)


class _TurnTaker:
    """SQLite's writers of this process, one at a time, in groups.

    SQLite has one writer, and its own waiting is unfair (a 40-thread p99 of seconds against 0.26 s behind one lock). A
    writer that others wait for leaves its transaction open to the next one and waits with it: many writes, one commit.
    Nobody is told that a write succeeded before the commit that holds it did.
    """

    MOST_WRITES = 64
    LONGEST_SECONDS = 0.02

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(trainyard_writes=True)
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._num_waiting = 0
        self._group: _Group | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self._my_turn():
            group = self._group = self._group or self._open()
            try:
                with group.write() as connection:
                    yield connection
            finally:
                self._commit_or_pass_on(group)
        while not group.over.wait(1):
            self._rescue(group)
        if group.error is not None:
            raise group.error

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self._counting:
            self._num_waiting += 1
        try:
            self._turn.acquire()
        finally:
            with self._counting:
                self._num_waiting -= 1
        try:
            yield
        finally:
            self._turn.release()

    def _open(self) -> _Group:
        connection = self._engine.connect()
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return _Group(connection, full_after=time.monotonic() + self.LONGEST_SECONDS)

    def _rescue(self, group: _Group) -> None:
        """Ends a group whose next writer was interrupted on its way here; else there is nothing to do but wait."""
        with self._my_turn():
            if self._group is group:
                self._end(group)

    def _commit_or_pass_on(self, group: _Group) -> None:
        """Leaves the group to the next writer if one waits, for it will come here, too. Else ends it."""
        may_grow = 0 < group.num_writes < self.MOST_WRITES and time.monotonic() < group.full_after
        if not (may_grow and self._num_waiting and group.is_alive):
            self._end(group)

    def _end(self, group: _Group) -> None:
        self._group = None
        try:
            if group.num_writes and not group.is_alive:
                raise Unavailable("the ledger gave up a transaction; its disk may be full")
            if group.num_writes:
                group.connection.commit()
        except BaseException as error:  # why: every writer of the group must be told, this one by the raise in begin
            group.error = error
            group.connection.invalidate()  # its transaction may be open still, and with it the one writer's place
        finally:
            try:
                group.connection.close()
            finally:
                group.over.set()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig)
        if "disk is full" in text or "No space left" in text:
            raise StorageFull("the ledger's disk is full") from error
        if isinstance(error, DataError) and "NUL (0x00)" in text:
            raise InvalidInput("text must not hold the character NUL") from error  # PostgreSQL cannot store it
        if isinstance(error, OperationalError) or error.connection_invalidated:
            raise Unavailable("the ledger cannot be reached right now") from error
        raise


def _postgres_engine(url: str, pool_size: int, *, reads_only: bool) -> Engine:
    options = f"-c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC -c idle_in_transaction_session_timeout=60000"
    if reads_only:
        options += " -c default_transaction_read_only=on"
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        connect_args={"options": options, "connect_timeout": 5},
    )
    _ping_after_rest(engine)
    return engine


def _ping_after_rest(engine: Engine) -> None:
    """A connection that rested may have died with its server; one in steady use need not be asked before each."""

    @event.listens_for(engine, "checkin")
    def _rest(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        if time.monotonic() - record.info.pop("rests_since", math.inf) < REST_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the others are as old: the pool makes new ones


def _sqlite_engine(url: str, pool_size: int, *, reads_only: bool) -> Engine:
    connect_args = {"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000}
    engine = create_engine(url, pool_size=pool_size, max_overflow=pool_size, connect_args=connect_args)
    pragmas = ["journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"]
    if reads_only:
        pragmas.append("query_only=ON")

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come late and deferred
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("trainyard_writes", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:  # takes no lock, so it cannot fail: straight to the driver, for polls begin with it
            connection.connection.driver_connection.execute("BEGIN")  # type: ignore[union-attr]

    return engine
