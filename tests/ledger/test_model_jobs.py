"""What jobs have to do with models: they register their packages, start from versions, and keep these from being deleted."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select

from core.artifacts.artifacts import list_artifacts
from core.artifacts.blobs import readable_size
from core.db.model_tables import model_requests
from core.errors import Conflict, InvalidInput, NotFound
from core.models.queries import get_version, list_models, list_versions
from core.models.settle import settle_models
from core.spec import NamedModel
from core.states import Reason
from tests.ledger.packaged import FILES, complete, delete, history, listed, point, register, ship, trained, versioned
from tests.ledger.world import World


def test_a_job_registers_itself_when_its_spec_says_so(world: World) -> None:
    job = world.submit(register_as="digits")
    complete(world, job, test_accuracy=0.5)
    with world.db.read() as tx:
        version = get_version(tx, world.project, "digits", 1)
        assert tx.scalar(select(model_requests.c.job_id)) is None
    assert version.job_id == job
    told = world.events(job)[-1]
    assert (told.type, told.data) == ("model.registered", {"model": "digits", "version": 1})
    assert [event.by for event in history(world)] == [None, None]
    with world.db.begin() as tx:
        settle_models(tx, world.now)
    assert len(world.events(job)) == told.seq, "settling twice does nothing"


def test_a_job_that_fails_or_leaves_nothing_registers_nothing(world: World) -> None:
    failing = world.submit(register_as="digits")
    held = world.run(world.node())
    ship(world, held, FILES)
    world.finish(held, Reason.USER_ERROR, message="it broke")
    cancelled = world.submit(register_as="digits")
    world.cancel(cancelled)
    empty = world.submit(register_as="digits")
    complete(world, empty, files={})
    with world.db.begin() as tx:
        settle_models(tx, world.now)
    with world.db.read() as tx:
        assert tx.scalar(select(model_requests.c.job_id)) is None
        assert list_models(tx, world.project).data == []
    assert world.events(empty)[-1].type == "model.not_registered"
    assert world.job(empty).state == "succeeded"
    assert world.job(failing).state == "failed"


def test_a_base_model_by_name_is_settled_at_submit_and_claimed(world: World) -> None:
    versioned(world)
    versioned(world, files={"model.safetensors": b"second"}, seed=1)
    point(world, "production", 1)
    job = world.submit(base_model="digits@production")
    point(world, "production", 2)
    assert world.job(job).spec.base_model == NamedModel(name="digits", version=1)
    held = world.run(world.node())
    assert held.base_model is not None
    assert held.base_model.files == tuple(sorted(listed(FILES), key=lambda file: file.path))
    with world.fenced(held) as (tx, fence):
        for file in held.base_model.files:
            assert readable_size(tx, fence, file.sha256) == file.size
        with pytest.raises(NotFound):
            readable_size(tx, fence, hashlib.sha256(b"second").hexdigest())


@pytest.mark.parametrize(
    ("reference", "pointer"),
    [("nothing@1", "/base_model/name"), ("digits@7", "/base_model/version"), ("digits@staging", "/base_model/version")],
)
def test_a_base_model_that_is_not_there_is_refused(world: World, reference: str, pointer: str) -> None:
    versioned(world)
    with pytest.raises(InvalidInput) as refused:
        world.submit(base_model=reference)
    assert [(item.pointer, item.code) for item in refused.value.problems] == [(pointer, "not_found")]


def test_a_version_knows_its_parent(world: World) -> None:
    first = versioned(world)
    tuned = versioned(world, base_model="digits", seed=1)
    assert tuned.parent is not None
    assert (tuned.parent.name, tuned.parent.version) == ("digits", 1)
    by_job = versioned(world, base_model={"job": first.job_id}, seed=2)
    assert by_job.parent is not None
    assert (by_job.parent.name, by_job.parent.version, by_job.parent.job_id) == ("digits", 1, first.job_id)
    unknown = versioned(world, base_model={"job": trained(world)}, seed=3)
    assert unknown.parent is not None
    assert unknown.parent.name is None


def test_the_artifacts_of_a_registered_job_stay_what_they_were(world: World) -> None:
    version = versioned(world)
    delete(world, 1)
    with world.db.read() as tx:
        left = list_artifacts(tx, world.project, str(version.job_id))
    assert {item.path for item in left.data} == FILES.keys()
    world.submit(base_model={"job": version.job_id})


def test_one_job_registered_by_many_at_once_is_one_version(world: World) -> None:
    job = trained(world)
    start = Barrier(4)

    def race(_: int) -> int:
        start.wait(timeout=20)
        return register(world, job).version.version

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(race, range(4))) == {1}
    with world.db.read() as tx:
        assert len(list_versions(tx, world.project, "digits").data) == 1
    assert [event.seq for event in history(world)] == [1, 2]


def test_a_version_is_either_deleted_or_started_from(world: World) -> None:
    for number in range(1, 7):
        assert versioned(world, seed=number).version == number
        with ThreadPoolExecutor(2) as pool:
            start = Barrier(2)
            submitting, removing = pool.submit(_submit, world, number, start), pool.submit(_delete, world, number, start)
            job, is_gone = submitting.result(timeout=30), removing.result(timeout=30)
        assert (job is None) == is_gone
        if job is not None:
            world.cancel(job)


def _submit(world: World, number: int, start: Barrier) -> str | None:
    start.wait(timeout=20)
    try:
        return world.submit(base_model=f"digits@{number}")
    except InvalidInput:
        return None


def _delete(world: World, number: int, start: Barrier) -> bool:
    start.wait(timeout=20)
    try:
        delete(world, number)
    except Conflict:
        return False
    return True
