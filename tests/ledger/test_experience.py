"""What earlier jobs tell about the next one, on both databases."""

import json
from typing import Any

from core.jobs.experience import estimate, queue_ahead
from core.jobs.progress import note_progress
from core.recipes import parse_spec
from core.states import Phase, Reason
from core.wire.jobs import Progress
from core.wire.outlook import Estimate, QueueAhead
from tests.ledger.world import World

TABLE: dict[str, Any] = {"recipe": "tabular", "dataset": {"path": "/data/t.csv"}, "training": {"epochs": 3, "batch_size": 64}}


def asked(world: World, *, rows: int | None = None, **changes: Any) -> Estimate:
    with world.db.read() as tx:
        return estimate(tx, world.project, parse_spec(json.dumps({**TABLE, **changes})), num_training_rows=rows)


def ahead(world: World, **changes: Any) -> QueueAhead:
    with world.db.read() as tx:
        return queue_ahead(tx, parse_spec(json.dumps({**TABLE, **changes})))


def train(world: World, node: str, *, steps: int, seconds: float, memory: float, **changes: Any) -> str:
    """A job that ran to its end."""
    job_id = world.submit(**{**TABLE, **changes})
    held = world.run(node, devices=(0,))
    with world.fenced(held) as (tx, fence):
        note_progress(tx, fence, Progress(phase=Phase.TRAINING, step=steps, total_steps=steps), world.now)
    world.pass_time(seconds)
    world.finish(held, Reason.COMPLETED, metrics={"training_seconds": seconds, "memory_bytes": memory, "test_loss": 1.0})
    return job_id


def test_steps_follow_from_rows_and_time_from_jobs_that_are_alike(world: World) -> None:
    node = world.node()
    assert asked(world, rows=1000) == Estimate(num_training_rows=1000, num_steps=48)
    known = [train(world, node, steps=10, seconds=seconds, memory=1e6 * seconds) for seconds in (1.0, 2.0, 30.0)]
    train(world, node, steps=10, seconds=500.0, memory=7e9, model={"family": "mlp", "width": 512})
    train(world, node, steps=10, seconds=600.0, memory=8e9, training={"epochs": 3, "batch_size": 128})

    found = asked(world, rows=1000, training={"epochs": 6, "batch_size": 64, "learning_rate": 0.5})
    assert found == Estimate(num_training_rows=1000, num_steps=96, seconds=19.2, memory_bytes=2e6, from_jobs=known[::-1])


def test_what_nobody_can_tell_is_left_open(world: World) -> None:
    assert asked(world) == Estimate()
    assert asked(world, training={"batch_size": "auto"}, rows=10).num_steps is None
    assert asked(world, training={"batch_size": 64, "epochs": 3, "max_steps": 7}, rows=1000).num_steps == 7
    text = {"recipe": "causal-language-modeling", "dataset": {"path": "/data/t.txt"}, "training": {"epochs": 3}}
    with world.db.read() as tx:
        assert estimate(tx, world.project, parse_spec(json.dumps(text)), num_training_rows=1000).num_steps is None


def test_a_job_that_was_resumed_or_failed_is_no_measure(world: World) -> None:
    node = world.node()
    world.submit(**TABLE)
    world.lose(world.run(node, devices=(0,)))
    world.pass_time(600)
    world.finish(world.run(node, devices=(0,)), Reason.COMPLETED, metrics={"training_seconds": 1.0})
    world.submit(**TABLE)
    world.finish(world.run(node, devices=(0,)), Reason.USER_ERROR, metrics={"training_seconds": 1.0})
    assert asked(world, rows=10).from_jobs == []


def test_the_queue_is_counted_by_priority_and_timed_by_what_ended_last(world: World) -> None:
    assert ahead(world) == QueueAhead(num_jobs=0, seconds=None), "no node could take it"
    node = world.node(devices=2)
    assert ahead(world) == QueueAhead(num_jobs=0, seconds=0.0)
    train(world, node, steps=10, seconds=40.0, memory=1.0)
    for priority in (5, 0, 0, -5):
        world.submit(priority=priority)
    assert ahead(world) == QueueAhead(num_jobs=3, seconds=60.0)
    assert ahead(world, priority=1) == QueueAhead(num_jobs=1, seconds=20.0)
    world.run(node, devices=(0,))
    assert ahead(world, priority=1) == QueueAhead(num_jobs=0, seconds=0.0), "one device is free"
    assert ahead(world) == QueueAhead(num_jobs=2, seconds=50.0), "and the running one has half its time left"
    assert ahead(world, resources={"devices_per_node": 4}).seconds is None
