"""Who gets which job, and in which order."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from core.errors import NotFound
from core.jobs.queries import list_jobs
from core.states import JobState, Reason
from core.wire.worker import Claim
from core.workers.drain import drain
from tests.ledger.world import World, assert_sound


def test_a_claim_gives_the_first_of_the_offered_devices(world: World) -> None:
    job_id = world.submit(resources={"devices_per_node": 2})
    held = world.claim(world.node(devices=4), (3, 1, 2))
    assert (held.job_id, held.attempt, held.devices) == (job_id, 1, (3, 1))
    assert world.job(job_id).state == JobState.RUNNING
    assert world.attempt(job_id).devices == [3, 1]


def test_a_device_offered_twice_is_one_device(world: World) -> None:
    world.submit(resources={"devices_per_node": 2})
    assert world.try_claim(world.node(), (0, 0)) is None


def test_claims_go_by_priority_then_age(world: World) -> None:
    first = world.submit()
    world.pass_time(1)
    second = world.submit()
    urgent = world.submit(priority=5)
    patient = world.submit(priority=-5)
    node = world.node()
    assert [world.claim(node).job_id for _ in range(4)] == [urgent, first, second, patient]


def test_a_job_that_was_given_back_keeps_its_place(world: World) -> None:
    first = world.submit()
    world.pass_time(1)
    world.submit()
    node = world.node()
    world.finish(world.run(node), Reason.DRAINED)
    assert world.claim(node).job_id == first


def test_a_job_that_is_too_large_does_not_hold_up_the_others(world: World) -> None:
    world.submit(resources={"devices_per_node": 8}, priority=10)
    small = world.submit()
    assert world.claim(world.node(), (0,)).job_id == small


@pytest.mark.parametrize(
    ("wanted", "kind", "fits"), [("auto", "cpu", True), ("cpu", "cpu", True), ("cuda", "cpu", False), ("cuda", "cuda", True)]
)
def test_the_accelerator_must_be_the_nodes(world: World, wanted: str, kind: str, fits: bool) -> None:
    world.submit(resources={"accelerator": wanted})
    assert (world.try_claim(world.node(accelerator=kind)) is not None) == fits


def test_nothing_queued_or_nothing_offered_answers_none(world: World) -> None:
    node = world.node()
    assert world.try_claim(node) is None
    world.submit()
    assert world.try_claim(node, ()) is None


def test_a_draining_node_gets_nothing(world: World) -> None:
    world.submit()
    node = world.node()
    with world.db.begin() as tx:
        drain(tx, node, now=world.now)
    assert world.try_claim(node) is None


def test_an_unknown_node_is_told_to_register(world: World) -> None:
    with pytest.raises(NotFound):
        world.try_claim("wrk_00000000000000000000000000")


def test_a_retry_is_not_claimed_before_its_time(world: World) -> None:
    job_id = world.submit(retry={"on": ["numeric"], "max_retries": 3})
    node = world.node()
    world.finish(world.run(node), Reason.NUMERIC)  # the first retry is at once
    world.finish(world.run(node), Reason.NUMERIC)
    assert world.job(job_id).state == JobState.QUEUED
    assert world.try_claim(node) is None
    world.pass_time(2.1)
    assert world.claim(node).attempt == 3


def test_the_time_limit_counts_over_all_attempts(world: World) -> None:
    world.submit(timeout_seconds=100)
    node = world.node()
    held = world.run(node)
    assert held.seconds_left == 100
    world.pass_time(30)
    world.finish(held, Reason.DRAINED)
    held = world.run(node)
    assert held.seconds_left == pytest.approx(70)
    world.pass_time(80)
    world.finish(held, Reason.DRAINED)
    assert world.claim(node).seconds_left == 0


def test_the_lease_token_is_stored_as_a_hash_alone(world: World) -> None:
    world.submit()
    held = world.claim(world.node())
    assert held.lease_token.startswith("lease_")
    assert held.lease_token not in repr(held)
    with world.db.read() as tx:
        for table in ("members", "attempts", "jobs", "events"):
            assert held.lease_token not in repr(tx.execute(text(f"SELECT * FROM {table}")).all())  # why: names of tables, from this list


def test_promise_02_sixty_four_threads_race_for_one_job_and_one_wins(world: World) -> None:
    job_id = world.submit()
    node = world.node()
    barrier = threading.Barrier(64)
    won: list[Claim] = []
    failed: list[BaseException] = []

    def race() -> None:
        barrier.wait()
        try:
            held = world.try_claim(node)
        except BaseException as error:
            failed.append(error)
            return
        if held is not None:
            won.append(held)

    threads = [threading.Thread(target=race) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert [held.job_id for held in won] == [job_id]
    assert_sound(world)


def test_many_claimers_share_many_jobs_without_a_double_claim(world: World) -> None:
    submitted = {world.submit() for _ in range(40)}
    node = world.node()
    won: list[str] = []

    def drain_queue() -> None:
        while (held := world.try_claim(node)) is not None:
            won.append(held.job_id)

    threads = [threading.Thread(target=drain_queue) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # SKIP LOCKED may answer None while another claimer holds the last rows: who comes again gets the rest.
    drain_queue()
    assert sorted(won) == sorted(submitted)
    assert_sound(world)


def _plan(world: World, act: Callable[[], object]) -> str:
    """How the database finds the rows of the ordered query that ``act`` runs."""
    seen: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    act()
    event.remove(Engine, "before_cursor_execute", listen)
    statement, parameters = next((sql, values) for sql, values in seen if "ORDER BY" in sql)
    with world.db.begin() as tx:
        if not world.db.is_sqlite:
            tx.exec_driver_sql("SET LOCAL enable_seqscan = off")  # fifty rows are one page; ten thousand are not
            tx.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        explain = "EXPLAIN QUERY PLAN " if world.db.is_sqlite else "EXPLAIN "
        return "\n".join(map(str, tx.exec_driver_sql(explain + statement, parameters).all()))


def test_a_claim_reads_the_index_of_queued_jobs_in_its_order(world: World) -> None:
    for _ in range(50):
        world.submit()
    node = world.node()
    plan = _plan(world, lambda: world.claim(node))
    assert "ix_jobs_claimable" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("state", [None, JobState.QUEUED])
def test_a_list_reads_its_page_and_sorts_nothing(world: World, state: JobState | None) -> None:
    for _ in range(50):
        world.submit()

    def list_a_page() -> None:
        with world.db.read() as tx:
            list_jobs(tx, world.project, limit=5, state=state)

    plan = _plan(world, list_a_page)
    assert "ix_jobs_project_id" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
