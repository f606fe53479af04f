"""Worlds: a ledger that is emptied instead of made anew for each test."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import delete

from core.db.engine import Database
from core.db.schema import metadata
from tests.bed.databases import BACKENDS, Backend, Databases
from tests.ledger.datasets import Datasets
from tests.ledger.world import World


@pytest.fixture(scope="session")
def shared_ledgers(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Backend, Database]]:
    """One migrated ledger per backend for all tests of a world: emptying its tables is much faster than a new one."""
    urls = {backend: databases.fresh_url(backend, tmp_path_factory.mktemp("ledger")) for backend in BACKENDS}
    ledgers = {backend: Database(url) for backend, url in urls.items()}
    yield ledgers
    for backend, database in ledgers.items():
        database.dispose()
        databases.forget(urls[backend])


@pytest.fixture
def new_world(shared_ledgers: dict[Backend, Database], backend: Backend) -> Callable[[], World]:
    """Each call empties the ledger and begins a new world on it, once on each database."""

    def begin() -> World:
        database = shared_ledgers[backend]
        with database.begin() as tx:
            for table in reversed(metadata.sorted_tables):
                tx.execute(delete(table))
        return World(database)

    return begin


@pytest.fixture
def world(new_world: Callable[[], World]) -> World:
    """One project on an empty ledger, once on each database."""
    return new_world()


@pytest.fixture
def mine(world: World) -> Datasets:
    datasets = Datasets(world, world.project)
    datasets.create()
    return datasets


@pytest.fixture
def node(world: World) -> str:
    return world.node()
