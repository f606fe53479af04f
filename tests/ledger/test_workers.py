"""Nodes: registering, beating, draining, and how an operator sees them."""

import pytest

from core.access.projects import ensure_project
from core.errors import NotFound, ProtocolMismatch
from core.states import Reason
from core.wire.worker import HeartbeatReply, HeartbeatRequest, RegisterReply, RegisterRequest, Worker
from core.workers.drain import drain, undrain
from core.workers.heartbeat import heartbeat
from core.workers.queries import get_worker, list_workers
from core.workers.register import register
from tests.ledger.world import LONG, World


def _register(world: World, **fields: object) -> RegisterReply:
    request = {"name": "node-1", "protocol": 1, "version": "1", "accelerator": "cpu", "devices": (), **fields}
    with world.db.begin() as tx:
        return register(tx, RegisterRequest.model_validate(request), ttl_seconds=60, now=world.now)


def _beat(world: World, worker_id: str, free: tuple[int, ...] = (0,)) -> HeartbeatReply:
    with world.db.begin() as tx:
        return heartbeat(tx, HeartbeatRequest(worker_id=worker_id, free_devices=free), ttl_seconds=60, now=world.now)


def _look(world: World, worker_id: str) -> Worker:
    with world.db.read() as tx:
        return get_worker(tx, world.project, worker_id)


def test_the_same_name_keeps_its_id_and_tells_what_is_new(world: World) -> None:
    first = _register(world, version="1")
    second = _register(world, version="2", torch_version="2.13")
    assert second.worker_id == first.worker_id
    worker = _look(world, first.worker_id)
    assert (worker.version, worker.torch_version, worker.state) == ("2", "2.13", "online")
    with world.db.read() as tx:
        assert len(list_workers(tx, world.project).data) == 1


def test_promise_29_a_node_of_another_protocol_is_refused(world: World) -> None:
    with pytest.raises(ProtocolMismatch):
        _register(world, protocol=2)


def test_a_node_goes_offline_when_it_is_not_heard_of_and_comes_back_with_a_beat(world: World) -> None:
    node = world.node()
    world.pass_time(2 * LONG)
    assert _look(world, node).state == "offline"
    _beat(world, node)
    assert _look(world, node).state == "online"


def test_a_beat_says_whether_something_would_fit(world: World) -> None:
    node = world.node()
    assert _beat(world, node) == HeartbeatReply(is_draining=False, has_work=False)
    world.submit(resources={"devices_per_node": 2})
    assert not _beat(world, node, (0,)).has_work
    assert _beat(world, node, (0, 1)).has_work
    assert not _beat(world, node, ()).has_work


def test_a_beat_of_an_unknown_node_tells_it_to_register(world: World) -> None:
    with pytest.raises(NotFound):
        _beat(world, "wrk_00000000000000000000000000")


def test_a_drained_node_hears_of_it_and_stays_so_over_a_restart(world: World) -> None:
    node = world.node()
    world.submit()
    with world.db.begin() as tx:
        drain(tx, node, now=world.now)
    assert _beat(world, node) == HeartbeatReply(is_draining=True, has_work=False)
    assert _register(world).is_draining
    with world.db.begin() as tx:
        undrain(tx, node)
    assert _beat(world, node) == HeartbeatReply(is_draining=False, has_work=True)


def test_a_node_that_drained_itself_to_shut_down_is_back_when_it_registers(world: World) -> None:
    node = world.node()
    with world.db.begin() as tx:
        drain(tx, node, now=world.now, leaving=True)
    assert _look(world, node).state == "drained"
    assert not _register(world).is_draining


def test_leaving_does_not_weaken_an_operators_drain(world: World) -> None:
    node = world.node()
    with world.db.begin() as tx:
        drain(tx, node, now=world.now)
        drain(tx, node, now=world.now, leaving=True)
    assert _register(world).is_draining


def test_draining_tells_the_running_attempts_once(world: World) -> None:
    node = world.node()
    job_id = world.submit()
    held = world.run(node)
    with world.db.begin() as tx:
        assert drain(tx, node, now=world.now) == [job_id]
        assert drain(tx, node, now=world.now) == []
    assert _look(world, node).state == "draining"
    assert [event.type for event in world.events(job_id)].count("attempt.draining") == 1
    world.finish(held, Reason.DRAINED)
    assert _look(world, node).state == "drained"
    assert world.columns(job_id).state == "queued"


def test_an_unknown_node_cannot_be_drained(world: World) -> None:
    with world.db.begin() as tx:
        for verb in (lambda: drain(tx, "wrk_none", now=world.now), lambda: undrain(tx, "wrk_none")):
            with pytest.raises(NotFound):
                verb()


def test_promise_23_a_node_shows_its_load_to_all_and_its_jobs_to_their_owner_alone(world: World) -> None:
    node = world.node(devices=4)
    job_id = world.submit(resources={"devices_per_node": 2})
    world.run(node)
    worker = _look(world, node)
    assert (worker.num_busy, worker.jobs, len(worker.devices)) == (2, [job_id], 4)
    with world.db.begin() as tx:
        stranger = ensure_project(tx, "strangers", world.now)
        seen = get_worker(tx, stranger, node)
    assert (seen.num_busy, seen.jobs) == (2, [])


def test_nodes_are_listed_in_pages(world: World) -> None:
    names = {world.node(f"node-{number}") for number in range(3)}
    with world.db.read() as tx:
        first = list_workers(tx, world.project, limit=2)
        second = list_workers(tx, world.project, limit=2, after=first.last_id)
    assert {worker.id for worker in first.data + second.data} == names
    assert (first.has_more, second.has_more) == (True, False)
