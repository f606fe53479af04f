"""The fence: who holds a lease writes, nobody else does."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from core.db.tables import jobs, members
from core.errors import InvalidInput, LeaseLost
from core.jobs.leases import control_of, fence
from core.states import AttemptState, Control, JobState, Reason
from core.wire.worker import Claim
from core.workers.drain import drain
from tests.ledger.world import LONG, TTL, World, assert_sound


@pytest.fixture
def held(world: World) -> Claim:
    world.submit()
    return world.run(world.node())


def _reads_control(world: World, held: Claim, token: str | None = None) -> Control:
    with world.db.read() as tx:
        return control_of(tx, held.attempt_id, token or held.lease_token)


def test_the_holder_of_a_lease_passes_the_fence(world: World, held: Claim) -> None:
    with world.fenced(held) as (_, passed):
        assert (passed.job_id, passed.number, passed.project_id) == (held.job_id, 1, world.project)
        assert (passed.attempt_state, passed.job_state) == (AttemptState.RUNNING, JobState.RUNNING)


def test_another_attempts_token_does_not(world: World, held: Claim) -> None:
    world.submit()
    other = world.run(world.node("node-2"))
    with world.db.begin() as tx, pytest.raises(LeaseLost):
        fence(tx, held.attempt_id, other.lease_token)
    with world.db.begin() as tx, pytest.raises(LeaseLost):
        fence(tx, held.attempt_id, "lease_made_up")


def test_starting_twice_changes_nothing_the_second_time(world: World, held: Claim) -> None:
    before = world.columns(held.job_id)
    world.clock.advance(timedelta(seconds=1))
    assert world.start(held).attempt_state is AttemptState.RUNNING
    assert world.columns(held.job_id) == before
    assert world.job(held.job_id).started_at == before.started_at


def test_a_lease_is_lost_when_it_runs_out_and_not_before(world: World, held: Claim) -> None:
    world.pass_time(LONG)
    assert world.reap() == []
    world.pass_time(TTL)
    assert world.reap() == [held.job_id]
    assert world.attempt(held.job_id).state == AttemptState.LOST
    assert world.job(held.job_id).state == JobState.QUEUED
    assert_sound(world)


def test_renewing_counts_from_the_moment_of_the_beat(world: World, held: Claim) -> None:
    world.pass_time(LONG)
    world.beat(held)
    world.pass_time(LONG)
    assert world.reap() == []


def test_a_late_beat_counts_while_nobody_has_reaped(world: World, held: Claim) -> None:
    world.pass_time(2 * LONG)
    assert world.beat(held).control is Control.CONTINUE
    assert world.reap() == []


def test_promise_02_after_the_reaper_every_write_of_the_old_holder_touches_nothing(world: World, held: Claim) -> None:
    world.lose(held)
    before = world.columns(held.job_id)
    for write in (world.beat, world.start, lambda lost: world.finish(lost, Reason.COMPLETED)):
        with pytest.raises(LeaseLost):
            write(held)
    with pytest.raises(LeaseLost), world.fenced(held):
        pass
    with pytest.raises(LeaseLost):
        _reads_control(world, held)
    assert world.columns(held.job_id) == before
    with world.db.read() as tx:
        lease_until = tx.scalars(select(members.c.lease_until).where(members.c.attempt_id == held.attempt_id)).one()
    assert lease_until == 0.0


def test_promise_02_a_late_finish_does_not_disturb_the_second_attempt(world: World, held: Claim) -> None:
    world.lose(held)
    second = world.run(world.node("node-2"))
    with pytest.raises(LeaseLost):
        world.finish(held, Reason.COMPLETED)
    assert (second.attempt, world.num_live(held.job_id)) == (2, 1)
    world.finish(second, Reason.COMPLETED)
    assert world.job(held.job_id).state == JobState.SUCCEEDED
    assert world.attempt(held.job_id, 1).state == AttemptState.LOST
    assert_sound(world)


def test_promise_05_a_lost_nodes_job_may_run_again_at_once(world: World, held: Claim) -> None:
    world.lose(held)
    assert world.claim(world.node("node-2")).attempt == 2


def test_one_pass_reaps_no_more_than_it_is_told(world: World) -> None:
    node = world.node()
    lost = [world.submit() for _ in range(3)]
    for _ in lost:
        world.run(node)
    with world.db.begin() as tx:
        tx.execute(update(members).values(lease_until=0.0))
    from_passes = [world.reap(), world.reap()]
    assert sorted(from_passes[0]) == sorted(lost)
    assert from_passes[1] == []


def test_a_worker_cannot_call_itself_lost(world: World, held: Claim) -> None:
    with pytest.raises(InvalidInput):
        world.finish(held, Reason.NODE_LOST)
    assert world.job(held.job_id).state == JobState.RUNNING


def test_the_control_word_says_what_was_asked(world: World, held: Claim) -> None:
    assert _reads_control(world, held) is Control.CONTINUE
    world.pause(held.job_id)
    assert _reads_control(world, held) is Control.PAUSE
    world.cancel(held.job_id)
    assert _reads_control(world, held) is world.beat(held).control is Control.CANCEL


def test_what_is_asked_of_the_job_outranks_a_drain(world: World, held: Claim) -> None:
    with world.db.begin() as tx:
        worker_id = fence(tx, held.attempt_id, held.lease_token).worker_id
    with world.db.begin() as tx:
        assert drain(tx, worker_id, now=world.now) == [held.job_id]
    assert _reads_control(world, held) is Control.DRAIN
    world.pause(held.job_id)
    assert _reads_control(world, held) is Control.PAUSE


def test_clocks_of_the_api_that_are_wrong_by_an_hour_neither_reap_nor_spare(world: World, held: Claim) -> None:
    for hours in (1, -2):
        world.clock.advance(timedelta(hours=hours))
        assert world.reap() == []
        with world.db.read() as tx:
            assert tx.scalar(select(jobs.c.state).where(jobs.c.id == held.job_id)) == JobState.RUNNING
    other = world.submit()
    assert world.claim(world.node("node-2")).job_id == other
