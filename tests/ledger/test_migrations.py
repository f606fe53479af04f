"""The migrations make exactly the tables that the code reads, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text

from core.db.engine import Database
from core.db.schema import metadata
from core.db.tables import projects
from migrations.run import is_current, upgrade
from tests.bed.databases import Backend, Databases


@pytest.fixture
def empty_url(databases: Databases, backend: Backend, tmp_path: Path) -> Iterator[str]:
    url = databases.empty_url(backend, tmp_path)
    yield url
    databases.forget(url)


@pytest.fixture
def empty_db(empty_url: str) -> Iterator[Database]:
    database = Database(empty_url)
    yield database
    database.dispose()


def test_an_empty_ledger_is_not_current_and_an_upgraded_one_is(empty_db: Database, empty_url: str) -> None:
    with empty_db.read() as tx:
        assert not is_current(tx)
    upgrade(empty_url)
    with empty_db.read() as tx:
        assert is_current(tx)
        assert tx.execute(select(projects)).all() == []


def test_upgrading_twice_changes_nothing(empty_db: Database, empty_url: str) -> None:
    upgrade(empty_url)
    upgrade(empty_url)
    with empty_db.read() as tx:
        assert is_current(tx)


def test_the_migrated_tables_are_those_of_the_code(empty_db: Database, empty_url: str) -> None:
    upgrade(empty_url)
    with empty_db.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/some/where/ledger.db")
    assert (tmp_path / "some/where/ledger.db").is_file()


def test_living_jobs_of_before_keep_the_packages_that_they_start_from(empty_db: Database, empty_url: str) -> None:
    upgrade(empty_url, "0008")
    columns = {"labels": "{}", "priority": 0, "nodes": 1, "devices_per_node": 1, "accelerator": "cpu"}
    instants = dict.fromkeys(("available_at", "created_at", "updated_at"), 0.0)
    specs = {
        "a": '{"base_model":{"job":"job_base"}}',
        "b": '{"base_model":{"name":"m","version":1}}',
        "c": '{"base_model":null}',
        "d": "{}",
    }
    with empty_db.begin() as tx:
        tx.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('prj', 'default', 0)"))
        for job_id, state, spec in [*((key, "queued", spec) for key, spec in specs.items()), ("e", "failed", specs["a"])]:
            row = {"id": job_id, "project_id": "prj", "recipe": "scripted", "state": state, "spec": spec, **columns, **instants}
            tx.execute(text(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"), row)
    upgrade(empty_url)
    with empty_db.read() as tx:
        assert [tuple(row) for row in tx.execute(text("SELECT job_id, base_job_id FROM job_bases"))] == [("a", "job_base")]
