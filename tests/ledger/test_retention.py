"""What a project's policy removes, what it never removes, and what is told afterwards; on both databases."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text

from core.artifacts.artifacts import all_artifacts, get_artifact, list_artifacts
from core.artifacts.checkpoints import commit_checkpoint, list_checkpoints, sources_for
from core.artifacts.store import FolderStore
from core.db.tables import checkpoint_blobs, log_streams
from core.errors import InvalidInput, NotFound, Removed
from core.jobs.submit import submit
from core.manifest import Manifest
from core.output.append import append_log
from core.output.compact import compact_logs
from core.output.read import find_output
from core.recipes import parse_spec
from core.retention.policies import get_retention
from core.states import Reason
from core.wire.worker import CheckpointRequest, Claim
from tests.bed.waiting import until
from tests.ledger.packaged import another_project, delete, finish_well, register, trained
from tests.ledger.retaining import DAY, apply, keep, removed
from tests.ledger.world import World, assert_sound, spec_text


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "bytes", reserve=0.0)


def outputs(world: World, job_id: str) -> tuple[int, int, int]:
    """How many artifacts, checkpoints and streams the ledger has of a job."""
    with world.db.read() as tx:
        columns = [
            tx.scalar(text(f"SELECT count(*) FROM {table} WHERE job_id = :job"), {"job": job_id}) for table in ("artifacts", "checkpoints")
        ]
        columns.append(
            tx.scalar(
                text("SELECT count(*) FROM log_streams s JOIN attempts a ON a.id = s.attempt_id WHERE job_id = :job"), {"job": job_id}
            )
        )
    return tuple(int(number or 0) for number in columns)  # type: ignore[return-value]


def leave(world: World, held: Claim) -> None:
    """A checkpoint and some output of an attempt that runs."""
    with world.fenced(held) as (tx, fence):
        append_log(tx, fence, 0, "stdout", offset=0, data=b"printed\n", limit=1 << 20, now=world.now)
        for step in (1, 2):
            commit_checkpoint(tx, fence, CheckpointRequest(step=step, manifest=Manifest(files=())), world.now)


def complete(world: World, store: FolderStore) -> str:
    """A job that has ended and has left something of each kind."""
    job_id = world.submit()
    held = world.run(world.node(f"node-{job_id[-10:]}"))
    leave(world, held)
    finish_well(world, held, metrics={})
    compact_logs(world.db, store, now=world.now)
    return job_id


def test_each_kind_goes_when_its_days_are_over_and_is_told_of(world: World, store: FolderStore) -> None:
    job_id = complete(world, store)
    keep(world, artifacts_days=30, checkpoints_days=10, logs_days=20)
    left = [(9, (2, 2, 1)), (11, (2, 0, 1)), (19, (2, 0, 1)), (21, (2, 0, 0)), (29, (2, 0, 0)), (31, (0, 0, 0))]
    day = 0
    for until_day, expected in left:
        world.pass_time((until_day - day) * DAY)
        day = until_day
        apply(world)
        assert outputs(world, job_id) == expected, until_day
    assert apply(world) == 0
    assert [(item.kind, item.subject, item.rule, item.num_bytes) for item in removed(world)] == [
        ("artifacts", job_id, "artifacts_days=30", 9),
        ("logs", job_id, "logs_days=20", 8),
        ("checkpoints", job_id, "checkpoints_days=10", 0),
    ]
    told = [event for event in world.events(job_id) if event.type.endswith(".removed")]
    assert [event.type for event in told] == ["checkpoints.removed", "logs.removed", "artifacts.removed"]
    assert told[-1].message.endswith("by artifacts_days=30: the project keeps artifacts 30 days after their job has ended")
    assert told[-1].data == {"rule": "artifacts_days=30", "num_bytes": 9}
    assert_sound(world)


def test_whoever_asks_for_it_is_told_when_and_by_which_rule(world: World, store: FolderStore) -> None:
    job_id, other = complete(world, store), complete(world, store)
    keep(world, artifacts_days=1, checkpoints_days=1, logs_days=1)
    world.pass_time(2 * DAY)
    went_at = world.now
    assert apply(world) == 6
    world.pass_time(DAY)
    with world.db.read() as tx:
        for ask, rule in (
            (lambda: get_artifact(tx, world.project, job_id, "config.json"), "artifacts_days=1"),
            (lambda: list_artifacts(tx, world.project, job_id), "artifacts_days=1"),
            (lambda: all_artifacts(tx, world.project, other), "artifacts_days=1"),
            (lambda: list_checkpoints(tx, world.project, job_id), "checkpoints_days=1"),
            (lambda: find_output(tx, world.project, job_id), "logs_days=1"),
        ):
            with pytest.raises(Removed, match="removed on 2026-01-03") as gone:
                ask()
            assert (gone.value.removed_at, gone.value.rule) == (went_at, rule)
    stranger = another_project(world)
    with world.db.read() as tx, pytest.raises(NotFound):
        get_artifact(tx, stranger, job_id, "config.json")
    untouched = trained(world)
    with world.db.read() as tx, pytest.raises(NotFound):
        get_artifact(tx, world.project, untouched, "never there")


def test_without_a_policy_everything_is_kept_and_one_may_be_taken_back(world: World, store: FolderStore) -> None:
    job_id = complete(world, store)
    other = another_project(world)
    keep(world, project=other, artifacts_days=1, logs_days=1)
    world.pass_time(10_000 * DAY)
    assert apply(world) == 0
    keep(world, artifacts_days=5, logs_days=7)
    keep(world, artifacts_days=None, checkpoints_days=9)
    with world.db.read() as tx:
        policy = get_retention(tx, world.project)
    assert (policy.artifacts_days, policy.checkpoints_days, policy.logs_days, policy.datasets_days) == (None, 9, 7, None)
    assert (policy.key_id, policy.changed_at) == ("key_x", world.now)
    assert apply(world) == 2
    assert outputs(world, job_id) == (2, 0, 0)


def test_a_job_that_has_not_ended_keeps_everything(world: World, store: FolderStore) -> None:
    keep(world, artifacts_days=1, checkpoints_days=1, logs_days=1)
    node = world.node()
    job_id = world.submit()
    held = world.run(node)
    leave(world, held)
    world.pass_time(100 * DAY)
    assert apply(world) == 0
    world.pause(job_id)
    world.finish(held, Reason.PAUSED)
    compact_logs(world.db, store, now=world.now)
    world.pass_time(100 * DAY)
    assert apply(world) == 0
    with world.db.read() as tx:
        assert [source.step for source in sources_for(tx, job_id)] == [2, 1]
    world.resume(job_id)
    held = world.run(node)
    world.finish(held, Reason.COMPLETED)
    assert apply(world) == 0, "it counts from the end"
    world.pass_time(2 * DAY)
    assert apply(world) == 2
    with world.db.read() as tx:
        assert tx.execute(select(checkpoint_blobs)).all() == []


def test_output_that_is_not_compacted_yet_waits(world: World, store: FolderStore) -> None:
    job_id = world.submit()
    held = world.run(world.node())
    leave(world, held)
    world.finish(held, Reason.COMPLETED)
    keep(world, logs_days=1)
    world.pass_time(2 * DAY)
    assert apply(world) == 0
    compact_logs(world.db, store, now=world.now)
    assert apply(world) == 1
    with world.db.read() as tx:
        assert tx.execute(select(log_streams)).all() == []
    assert outputs(world, job_id)[2] == 0


# What somebody needs


def test_the_package_that_a_living_job_starts_from_is_kept(world: World) -> None:
    base = trained(world)
    keep(world, artifacts_days=1)
    child = world.submit(base_model={"job": base})
    world.pass_time(10 * DAY)
    assert apply(world) == 0
    world.cancel(child)
    assert apply(world) == 1
    with pytest.raises(InvalidInput, match="artifacts_days=1") as refused:
        world.submit(base_model={"job": base})
    assert [(item.pointer, item.code) for item in refused.value.problems] == [("/base_model/job", "removed")]
    with pytest.raises(InvalidInput, match="artifacts_days=1") as refused:
        register(world, base)
    assert [(item.pointer, item.code) for item in refused.value.problems] == [("/job", "removed")]


def test_the_package_of_a_registered_model_is_kept_until_its_version_is_deleted(world: World) -> None:
    job_id = trained(world)
    register(world, job_id)
    keep(world, artifacts_days=1)
    world.pass_time(10 * DAY)
    assert apply(world) == 0
    delete(world, 1)
    assert apply(world) == 1


def test_a_submit_at_the_same_moment_finds_the_package_or_is_told(world: World) -> None:
    base = trained(world)
    keep(world, artifacts_days=1)
    world.pass_time(10 * DAY)
    with ThreadPoolExecutor(1) as pool:
        with world.db.begin() as tx:
            spec = parse_spec(spec_text(base_model={"job": base}))
            submit(tx, project_id=world.project, spec=spec, now=world.now, max_queued=10)
            applying = pool.submit(apply, world)
            wait_for_turn(world, applying)
        assert applying.result(30) == 0
    with world.db.read() as tx:
        assert len(all_artifacts(tx, world.project, base)) == 2


def wait_for_turn(world: World, future: "Future[int]") -> None:
    """Returns once the other transaction waits for ours; on SQLite, which has one writer, there is nothing to wait for."""
    if world.db.engine.dialect.name == "sqlite":
        return
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")

    def waits() -> bool:
        with world.db.read() as tx:
            return bool(tx.scalar(waiting)) or future.done()

    until(waits, within=20, what="retention waits for the submit")
