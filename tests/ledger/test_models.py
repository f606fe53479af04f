"""Models, their versions and what jobs have to do with them, on both databases."""

from datetime import timedelta
from pathlib import Path

import pytest

from core.artifacts.blobs import blob_size
from core.artifacts.orphans import collect_orphans
from core.artifacts.store import FolderStore
from core.artifacts.uploads import note_upload
from core.errors import Conflict, InvalidInput, NotFound
from core.models.aliases import remove_alias
from core.models.compare import compare
from core.models.queries import get_file, get_model, get_version, list_files, list_model_events, list_models, list_versions
from core.models.register import register_files
from tests.ledger.packaged import FILES, KEY, another_project, complete, delete, history, listed, point, register, trained, versioned
from tests.ledger.world import World


def test_a_succeeded_job_becomes_a_version_once(world: World) -> None:
    job = trained(world, metrics={"test_accuracy": 0.9}, dataset={"builtin": "digits"})
    first = register(world, job)
    assert (first.is_new, first.version.version, first.version.job_id) == (True, 1, job)
    assert first.version.metrics["test_accuracy"] == 0.9
    assert (first.version.num_files, first.version.num_bytes) == (2, 9)
    again = register(world, job)
    assert (again.is_new, again.version) == (False, first.version)
    second = register(world, trained(world, files={"model.safetensors": b"other"}, seed=1))
    assert second.version.version == 2
    assert register(world, job, "elsewhere").version.version == 1, "one job may be a version of two models"
    with world.db.read() as tx:
        assert [item.version for item in list_versions(tx, world.project, "digits").data] == [2, 1]
        assert get_version(tx, world.project, "digits", "latest").version == 2
        assert [item.path for item in list_files(tx, world.project, "digits", 1)] == ["config.json", "model.safetensors"]
        assert {item.name: item.latest_version for item in list_models(tx, world.project).data} == {"digits": 2, "elsewhere": 1}
    assert [(event.type, event.version, event.by) for event in history(world)] == [
        ("model.created", None, KEY),
        ("version.registered", 1, KEY),
        ("version.registered", 2, KEY),
    ]


def test_lists_of_versions_are_paged(world: World) -> None:
    for seed in range(3):
        versioned(world, seed=seed)
    with world.db.read() as tx:
        page = list_versions(tx, world.project, "digits", limit=2)
        rest = list_versions(tx, world.project, "digits", limit=2, after=page.last_id)
    assert [item.version for item in page.data + rest.data] == [3, 2, 1]
    assert (page.has_more, rest.has_more) == (True, False)


def test_only_a_succeeded_job_with_files_is_registered(world: World) -> None:
    queued = world.submit()
    with pytest.raises(InvalidInput, match="is queued") as refused:
        register(world, queued)
    assert refused.value.problems[0].pointer == "/job"
    complete(world, queued, files={})
    with pytest.raises(InvalidInput, match="no files"):
        register(world, queued)
    with pytest.raises(InvalidInput, match="no such job"):
        register(world, "job_00000000000000000000000000")
    with world.db.read() as tx, pytest.raises(NotFound):
        get_model(tx, world.project, "digits")


def test_another_project_sees_nothing_and_takes_nothing(world: World) -> None:
    version = versioned(world)
    stranger = another_project(world)
    with pytest.raises(InvalidInput, match="no such job"):
        register(world, str(version.job_id), project=stranger)
    with world.db.read() as tx:
        assert list_models(tx, stranger).data == []
        for look in (
            lambda: get_model(tx, stranger, "digits"),
            lambda: get_version(tx, stranger, "digits", 1),
            lambda: get_file(tx, stranger, "digits", 1, "model.safetensors"),
            lambda: list_model_events(tx, stranger, "digits"),
        ):
            with pytest.raises(NotFound):
                look()
    with pytest.raises(InvalidInput, match="there is no model"):
        world.submit(project=stranger, base_model="digits@1")


def test_a_number_beyond_every_column_is_not_found(world: World) -> None:
    versioned(world)
    with world.db.read() as tx, pytest.raises(NotFound):
        get_version(tx, world.project, "digits", 2**40)


def test_aliases_move_and_their_history_stays(world: World) -> None:
    versioned(world), versioned(world, seed=1)
    point(world, "production", 1)
    world.pass_time(3600)
    before = world.now
    world.pass_time(3600)
    point(world, "production", "latest")
    with world.db.read() as tx:
        assert get_model(tx, world.project, "digits").aliases == {"production": 2}
        assert get_version(tx, world.project, "digits", "production").aliases == ["production"]
    with world.db.begin() as tx:
        remove_alias(tx, world.project, "digits", "production", key_id=KEY, now=world.now)
    moves = history(world, alias="production")
    assert [(move.type, move.previous_version, move.version, move.by) for move in moves] == [
        ("alias.moved", None, 1, KEY),
        ("alias.moved", 1, 2, KEY),
        ("alias.removed", 2, None, KEY),
    ]
    assert [move.version for move in moves if move.at <= before][-1] == 1
    with world.db.begin() as tx, pytest.raises(NotFound):
        remove_alias(tx, world.project, "digits", "production", key_id=KEY, now=world.now)


def test_an_alias_cannot_be_called_latest_nor_point_to_nothing(world: World) -> None:
    versioned(world)
    with pytest.raises(InvalidInput, match="highest number"):
        point(world, "latest", 1)
    with pytest.raises(InvalidInput) as refused:
        point(world, "production", 9)
    assert refused.value.problems[0].pointer == "/version"
    with world.db.begin() as tx, pytest.raises(NotFound):
        remove_alias(tx, world.project, "digits", "latest", key_id=KEY, now=world.now)


def test_a_version_in_use_is_not_deleted(world: World) -> None:
    versioned(world), versioned(world, seed=1)
    point(world, "production", 1)
    with pytest.raises(Conflict, match="production"):
        delete(world, 1)
    job = world.submit(base_model="digits@2")
    with pytest.raises(Conflict, match=job):
        delete(world, 2)
    world.cancel(job)
    delete(world, 2)
    with world.db.read() as tx:
        assert [item.version for item in list_versions(tx, world.project, "digits").data] == [1]
    assert versioned(world, seed=2).version == 3, "a number is not given again"
    with pytest.raises(NotFound):
        delete(world, 2)
    assert history(world)[-2].type == "version.deleted"


def test_bytes_of_versions_are_kept_and_those_of_deleted_ones_go(world: World, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "bytes", reserve=0.0)
    data = {"model.safetensors": b"brought by hand"}
    sha256 = store.put([data["model.safetensors"]])
    with world.db.begin() as tx:
        note_upload(tx, world.project, sha256, 15, world.now)
        version = register_files(tx, world.project, "own", listed(data), key_id=KEY, now=world.now).version
    later = world.now + timedelta(days=2)
    collect_orphans(world.db, store, now=later)
    with world.db.read() as tx:
        assert blob_size(tx, sha256) == 15
    delete(world, version.version, "own")
    collect_orphans(world.db, store, now=later)
    with world.db.read() as tx:
        assert blob_size(tx, sha256) is None


def test_the_same_files_are_the_same_version(world: World) -> None:
    with world.db.begin() as tx:
        one = register_files(tx, world.project, "own", listed(FILES), key_id=KEY, now=world.now)
        other = register_files(tx, world.project, "own", listed(FILES)[::-1], key_id=KEY, now=world.now)
    assert (one.is_new, other.is_new, other.version.version) == (True, False, 1)
    assert one.version.job_id is None
    assert versioned(world).digest == one.version.digest


def test_two_versions_are_compared_by_metrics_data_files_and_spec(world: World, tmp_path: Path) -> None:
    digits = {"dataset": {"builtin": "digits"}, "labels": {"left": "out"}}
    versioned(world, metrics={"test_accuracy": 0.9, "test_loss": 0.4, "odd": 1.0}, **digits)
    versioned(world, metrics={"test_accuracy": 0.8, "test_loss": 0.3, "odd": 2.0, "new": 1.0}, training={"steps": 7}, dataset=None)
    store = FolderStore(tmp_path / "bytes", reserve=0.0)
    with world.db.read() as tx:
        found = compare(tx, store, world.project, "digits", a=1, b="latest")
    shown = {name: (item.difference, item.better) for name, item in found.metrics.items()}
    assert shown["test_accuracy"] == (pytest.approx(-0.1), "a")
    assert shown["test_loss"] == (pytest.approx(-0.1), "b")
    assert shown["odd"] == (1.0, None)
    assert shown["new"] == (None, None)
    assert (found.same_files, found.same_data) == (True, None)
    assert found.spec_differences is not None
    places = {item.pointer: (item.a, item.b) for item in found.spec_differences}
    assert places == {"/dataset": ({"builtin": "digits"}, None), "/training/steps": (10, 7)}


def test_same_data_is_what_the_packages_say_of_it(world: World, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "bytes", reserve=0.0)
    reports = [b'{"digest": "aaa"}', b'{"digest": "aaa", "more": 1}', b'{"digest": "bbb"}', b"[" * 100_000]
    for seed, report in enumerate(reports):
        store.put([report])
        versioned(world, files={"data_report.json": report}, seed=seed, dataset={"builtin": "digits"})
    with world.db.read() as tx:
        same = [compare(tx, store, world.project, "digits", a=1, b=b).same_data for b in (2, 3, 4)]
    assert same == [True, False, True]
