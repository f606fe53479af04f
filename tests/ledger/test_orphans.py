"""Bytes that nothing refers to any more, of jobs, datasets, models and scripts: gone from every kind of store, on both databases."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from core.artifacts.blobs import note_blob
from core.artifacts.checkpoints import commit_checkpoint
from core.artifacts.open_store import seal_store
from core.artifacts.orphans import collect_orphans
from core.artifacts.store import ByteStore
from core.artifacts.uploads import note_upload
from core.datasets.remove import remove_version
from core.manifest import Manifest
from core.models.register import register_files
from core.output.append import append_log
from core.output.compact import compact_logs
from core.states import Reason
from core.wire.worker import CheckpointRequest
from tests.bed.servers import Servers
from tests.ledger.datasets import Datasets
from tests.ledger.packaged import KEY, delete, listed, ship
from tests.ledger.retaining import DAY, apply, keep
from tests.ledger.sealing import keys_of, opener_of
from tests.ledger.world import World

Put = Callable[[bytes], str]


@pytest.fixture(params=["folder", "bucket", "sealed folder", "sealed bucket"])
def store(request: pytest.FixtureRequest, world: World, servers: Servers, tmp_path: Path) -> ByteStore:
    sealing, _, kind = str(request.param).rpartition(" ")
    opener = opener_of(kind, servers, tmp_path / "bytes")
    return seal_store(opener, keys_of(world.db, clock=world.clock)) if sealing else opener(None)


@pytest.fixture
def put(world: World, store: ByteStore) -> Put:
    """Stores bytes that the project has sent."""

    def send(data: bytes) -> str:
        sha256 = store.put([data], owner=world.project)
        with world.db.begin() as tx:
            note_upload(tx, world.project, sha256, len(data), world.now)
        return sha256

    return send


def collect(world: World, store: ByteStore) -> int:
    """A few days later; objects have the real clock's times, so the world's must be far ahead of it."""
    world.pass_time(3 * DAY)
    assert world.now > datetime.now(world.now.tzinfo)
    return collect_orphans(world.db, store, now=world.now)


@pytest.fixture(autouse=True)
def later_than_now(world: World) -> None:
    world.pass_time(20_000 * DAY)


def test_bytes_of_a_job_go_after_what_named_them(world: World, store: ByteStore, put: Put) -> None:
    package, checkpoint = put(b"package"), put(b"checkpoint")
    printed = hashlib.sha256(b"printed").hexdigest()
    job_id = world.submit()
    held = world.run(world.node())
    ship(world, held, {"model": b"package"})
    with world.fenced(held) as (tx, fence):
        append_log(tx, fence, 0, "stdout", offset=0, data=b"printed", limit=100, now=world.now)
        commit_checkpoint(tx, fence, CheckpointRequest(step=1, manifest=Manifest(files=listed({"a": b"checkpoint"}))), world.now)
    world.finish(held, Reason.COMPLETED)
    compact_logs(world.db, store, now=world.now)
    assert collect(world, store) == 0
    for rule, sha256 in (("logs_days", printed), ("checkpoints_days", checkpoint), ("artifacts_days", package)):
        assert store.has(sha256), rule
        keep(world, **{rule: 1})
        assert apply(world) == 1
        assert collect(world, store) == 1, rule
        assert not store.has(sha256), rule
    assert world.job(job_id).is_terminal


def test_bytes_that_a_model_shares_outlive_the_job(world: World, store: ByteStore, put: Put) -> None:
    shared = put(b"weights")
    world.submit()
    held = world.run(world.node())
    ship(world, held, {"model": b"weights"})
    world.finish(held, Reason.COMPLETED)
    with world.db.begin() as tx:
        register_files(tx, world.project, "own", listed({"model": b"weights"}), key_id=KEY, now=world.now)
    keep(world, artifacts_days=1)
    world.pass_time(2 * DAY)
    assert apply(world) == 1
    assert collect(world, store) == 0
    assert b"".join(store.read(shared, 0, 7)) == b"weights"
    delete(world, 1, "own")
    assert collect(world, store) == 1
    assert not store.has(shared)


def test_bytes_of_a_dataset_go_with_its_version(mine: Datasets, node: str, world: World, store: ByteStore, put: Put) -> None:
    one, two = put(b"one"), put(b"two")
    mine.ready(node, {"a": "one", "b": "two"})
    mine.ready(node, {"b": "two"})
    assert collect(world, store) == 0
    with world.db.begin() as tx:
        remove_version(tx, mine.project, "birds", 1)
    assert collect(world, store) == 1
    assert (store.has(one), store.has(two)) == (False, True)


def test_code_is_kept_for_a_job_that_has_not_ended(world: World, store: ByteStore, put: Put) -> None:
    code = put(b"an archive")
    job_id = world.submit(recipe="script", code={"sha256": code, "size": 10}, entrypoint="train.py")
    assert collect(world, store) == 0
    world.cancel(job_id)
    assert collect(world, store) == 1
    assert not store.has(code)


def test_what_just_lost_its_job_stays_a_day(world: World, store: ByteStore, put: Put) -> None:
    """Somebody may have read the list of artifacts a moment ago, and makes a model of them now."""
    package = put(b"package")
    world.submit()
    held = world.run(world.node())
    ship(world, held, {"model": b"package"})
    world.finish(held, Reason.COMPLETED)
    keep(world, artifacts_days=1)
    world.pass_time(5 * DAY)
    assert apply(world) == 1
    assert collect_orphans(world.db, store, now=world.now) == 0
    assert store.has(package)
    with world.db.begin() as tx:
        note_blob(tx, package, 7, world.now)
    assert collect(world, store) == 1
