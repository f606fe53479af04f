"""Servers for the tests of the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.api.serving import Client, Node, Served, serving
from tests.bed.databases import Databases


@pytest.fixture
def served(sqlite_url: str, tmp_path: Path) -> Iterator[Served]:
    """A real server on a fresh SQLite ledger."""
    with serving(sqlite_url, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def shared(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests of a file that leave nothing behind that another would trip over."""
    folder = tmp_path_factory.mktemp("shared")
    with serving(databases.fresh_url("sqlite", folder), folder, master_key=SecretStr("m" * 40)) as found:
        yield found


@pytest.fixture
def served_on_each(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """The same, once on SQLite and once on PostgreSQL."""
    with serving(database_url, tmp_path) as found:
        yield found


@pytest.fixture
def admin(served: Served) -> Client:
    return served.client()


@pytest.fixture
def node(served: Served) -> Node:
    return served.node()
