"""Transactions: durable when the block has ended, alone undone when it raises; SQLite's writers share commits."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.db.engine import Database
from core.db.tables import elections
from core.errors import StorageFull, Unavailable
from tests.bed.databases import Databases
from tests.bed.servers import Servers


@pytest.fixture
def ledger(databases: Databases, tmp_path: Path) -> Iterator[Database]:
    database = Database(databases.fresh_url("sqlite", tmp_path))
    yield database
    database.dispose()


def _write(database: Database, name: str, *, fails: bool = False, inside: Callable[[Connection], object] = lambda tx: None) -> None:
    with database.begin() as tx:
        tx.execute(insert(elections).values(duty=name, holder="h", lease_until=0.0))
        inside(tx)
        if fails:
            raise ZeroDivisionError


def _names(database: Database) -> set[str]:
    with database.read() as tx:
        return set(tx.scalars(select(elections.c.duty)))


def _count_commits(database: Database) -> list[object]:
    commits: list[object] = []
    event.listen(database.engine, "commit", commits.append)
    return commits


class _Crowd:
    """A first writer that stays inside its block until so many others wait for their turn."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads: list[threading.Thread] = []
        self.raised: list[BaseException] = []
        self._entered = threading.Event()
        self._go = threading.Event()
        self.add("first", inside=self._hold)
        assert self._entered.wait(30)

    def add(self, name: str, **how: Any) -> None:
        thread = threading.Thread(target=self._run, args=(name, how))
        self._threads.append(thread)
        thread.start()

    def let_go(self) -> None:
        turns: Any = self._database._begin.__self__  # type: ignore[attr-defined]
        waiting = len(self._threads) - 1
        while turns._num_waiting < waiting:
            threading.Event().wait(0.001)
        self._go.set()
        for thread in self._threads:
            thread.join(30)

    def _hold(self, _tx: Connection) -> None:
        self._entered.set()
        assert self._go.wait(30)

    def _run(self, name: str, how: dict[str, Any]) -> None:
        try:
            _write(self._database, name, **how)
        except BaseException as error:  # why: what a thread raises is what the test looks at
            self.raised.append(error)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch, ledger: Database) -> None:
    """Groups are as large as they like, however slow this machine is."""
    turns: Any = ledger._begin.__self__  # type: ignore[attr-defined]
    monkeypatch.setattr(type(turns), "LONGEST_SECONDS", 60.0)


@pytest.mark.usefixtures("unhurried")
def test_writers_that_wait_share_one_commit(ledger: Database) -> None:
    commits = _count_commits(ledger)
    crowd = _Crowd(ledger)
    for number in range(10):
        crowd.add(f"n{number}")
    crowd.let_go()
    assert crowd.raised == []
    assert len(_names(ledger)) == 11
    assert len(commits) == 1


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("place", ["first", "middle"])
def test_a_writer_that_fails_undoes_its_own_rows_alone(ledger: Database, place: str) -> None:
    crowd = _Crowd(ledger)
    for name in ("a", "b", "c"):
        crowd.add(name, fails=name == "b" and place == "middle")
    crowd.let_go()
    if place == "first":
        with pytest.raises(ZeroDivisionError):
            _write(ledger, "d", fails=True)
    assert _names(ledger) == {"first", "a", "c"} | ({"b"} if place == "first" else set())
    assert [type(error) for error in crowd.raised] == ([] if place == "first" else [ZeroDivisionError])


@pytest.mark.usefixtures("unhurried")
def test_a_failed_statement_spoils_neither_its_block_nor_the_group(ledger: Database) -> None:
    def collide() -> None:
        with ledger.begin() as tx:
            tx.execute(insert(elections).values(duty="kept", holder="h", lease_until=0.0))
            with pytest.raises(IntegrityError):
                tx.execute(insert(elections).values(duty="first", holder="h", lease_until=0.0))

    crowd = _Crowd(ledger)
    thread = threading.Thread(target=collide)
    thread.start()
    crowd.let_go()
    thread.join(30)
    assert _names(ledger) == {"first", "kept"}


@pytest.mark.usefixtures("unhurried")
def test_nobody_is_told_of_success_when_the_commit_fails(ledger: Database) -> None:
    def refuse(_connection: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    event.listen(ledger.engine, "commit", refuse)
    crowd = _Crowd(ledger)
    for number in range(4):
        crowd.add(f"n{number}")
    crowd.let_go()
    event.remove(ledger.engine, "commit", refuse)
    assert len(crowd.raised) == 5
    assert _names(ledger) == set()
    _write(ledger, "after")
    assert _names(ledger) == {"after"}


@pytest.mark.usefixtures("unhurried")
def test_when_sqlite_gives_the_transaction_up_the_whole_group_is_told(ledger: Database) -> None:
    """A full disk rolls back everything, not the failing statement alone."""

    crowd = _Crowd(ledger)
    crowd.add("second", inside=lambda tx: tx.exec_driver_sql("ROLLBACK"))
    crowd.let_go()
    assert [type(error) for error in crowd.raised] == [Unavailable, Unavailable]
    assert _names(ledger) == set()
    _write(ledger, "after")
    assert _names(ledger) == {"after"}


def test_threads_in_a_hurry_lose_nothing(ledger: Database) -> None:
    def write_many(thread: int) -> None:
        for number in range(20):
            _write(ledger, f"{thread}.{number}")

    threads = [threading.Thread(target=write_many, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(_names(ledger)) == 160


def test_a_full_disk_is_told_as_such(ledger: Database) -> None:
    with ledger.read() as tx:
        pages = tx.execute(text("PRAGMA page_count")).scalar_one()

    def limit(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + 2}")

    ledger.dispose()
    event.listen(ledger.engine, "connect", limit)

    def fill() -> None:
        for number in range(10_000):
            _write(ledger, f"{number:030d}")

    with pytest.raises(StorageFull):
        fill()
    assert len(_names(ledger)) > 0


def test_a_block_that_raises_leaves_nothing(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        _write(db, "gone", fails=True)
    assert _names(db) == set()
    _write(db, "there")
    assert _names(db) == {"there"}


def test_a_ledger_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/no/such/folder/ledger.db", "postgresql+psycopg://nobody:x@127.0.0.1:9/none"):
        database = Database(url)
        for enter in (database.begin, database.read, database.snapshot):
            with pytest.raises(Unavailable), enter():
                pass
        database.dispose()


def test_a_snapshot_does_not_see_what_is_committed_after_its_first_statement(db: Database) -> None:
    with db.snapshot() as tx:
        assert tx.scalars(select(elections.c.duty)).all() == []
        _write(db, "later")
        assert tx.scalars(select(elections.c.duty)).all() == []
    assert _names(db) == {"later"}


def test_a_reader_cannot_write(db: Database) -> None:
    def write() -> None:
        with db.read() as tx:
            tx.execute(insert(elections).values(duty="x", holder="h", lease_until=0.0))

    with pytest.raises((DBAPIError, Unavailable)) as caught:
        write()
    assert "read" in str(caught.value.__cause__ or caught.value)
    assert _names(db) == set()


@pytest.fixture
def on_postgres(servers: Servers, databases: Databases, tmp_path: Path) -> Iterator[tuple[Database, Callable[[], None]]]:
    """A ledger on PostgreSQL, and what ends all its connections as a restart of the server would."""
    url = databases.fresh_url("postgres", tmp_path)
    name = url.rpartition("/")[2]
    database = Database(url)
    yield database, lambda: servers.postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    database.dispose()
    databases.forget(url)


def test_connections_that_died_while_they_rested_are_replaced_unseen(
    on_postgres: tuple[Database, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, end_connections = on_postgres
    monkeypatch.setattr("core.db.engine.REST_SECONDS", 0.0)
    _write(database, "before")
    assert _names(database) == {"before"}
    end_connections()
    assert _names(database) == {"before"}
    _write(database, "after")
    assert _names(database) == {"before", "after"}


def test_a_connection_that_dies_in_use_answers_unavailable_and_the_next_one_works(
    on_postgres: tuple[Database, Callable[[], None]],
) -> None:
    database, end_connections = on_postgres
    with pytest.raises(Unavailable):
        _write(database, "lost", inside=lambda tx: (end_connections(), tx.execute(select(elections))))
    assert _names(database) == set()
    _write(database, "there")
    assert _names(database) == {"there"}
