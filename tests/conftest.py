"""Fixtures that every room shares: the real servers, and fresh migrated ledgers on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.db.engine import Database
from migrations.run import upgrade
from tests.bed.databases import BACKENDS, Backend, Databases
from tests.bed.servers import Servers, describe


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        choices=("any", "system", "wheels"),
        default="any",
        help="which binaries of PostgreSQL and Redis to run on: the system's, those of the dev extra's wheels, or what is there",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return describe(config.getoption("--servers"))


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The session's PostgreSQL (``servers.postgres``) and as many Redises as wanted (``servers.new_redis()``)."""
    servers = Servers(request.config.getoption("--servers"))
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def databases(servers: Servers) -> Databases:
    return Databases(servers, upgrade)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Runs the test once on SQLite and once on PostgreSQL."""
    backend: Backend = request.param
    return backend


@pytest.fixture
def database_url(databases: Databases, backend: Backend, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, migrated ledger, once on each backend."""
    url = databases.fresh_url(backend, tmp_path)
    yield url
    databases.forget(url)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A fresh, migrated ledger, once on each backend."""
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def sqlite_url(databases: Databases, tmp_path: Path) -> str:
    """The same on SQLite alone, for tests that are not about the ledger."""
    return databases.fresh_url("sqlite", tmp_path)
