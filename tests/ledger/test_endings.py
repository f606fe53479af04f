"""What endings write: on the attempt, on the job, and in its journal."""

import pytest
from sqlalchemy import select

from core.artifacts.checkpoints import commit_checkpoint
from core.db.tables import events
from core.errors import IllegalMove, LeaseLost
from core.jobs.finish import KEPT_CHARACTERS
from core.jobs.progress import note_progress
from core.manifest import Manifest
from core.states import EFFECTS, AttemptState, Budget, JobState, Phase, Reason
from core.wire.jobs import Progress
from core.wire.worker import CheckpointRequest, Claim
from tests.ledger.world import World, assert_sound

REPORTED = [reason for reason in Reason if reason is not Reason.NODE_LOST]


@pytest.fixture
def held(world: World) -> Claim:
    world.submit()
    return world.run(world.node())


def _types(world: World, job_id: str) -> list[str]:
    return [event.type for event in world.events(job_id)]


@pytest.mark.parametrize("reason", [reason for reason in REPORTED if reason not in (Reason.CANCELLED, Reason.PAUSED)])
def test_the_reason_decides_states_and_budgets(world: World, held: Claim, reason: Reason) -> None:
    effect = EFFECTS[reason]
    reply = world.finish(held, reason, message="so it was", forced=True)
    job, attempt = world.job(held.job_id), world.attempt(held.job_id)
    assert reply.job_state == job.state == effect.job
    assert job.reason == attempt.reason == reason
    assert (attempt.state, attempt.forced, attempt.is_terminal) == (effect.attempt, True, True)
    row = world.columns(held.job_id)
    spent = {budget: getattr(row, f"{budget}_failures") for budget in Budget}
    assert spent == {budget: int(budget is effect.budget) for budget in Budget}
    assert (attempt.failure is not None) == (effect.budget is not None)
    assert (reply.retry_at is not None) == (effect.job is JobState.QUEUED)
    assert_sound(world)


def test_a_failure_carries_its_evidence(world: World, held: Claim) -> None:
    evidence = {"rank": 1, "exit_code": -9, "stack": "Traceback ...", "log_tail": "last words"}
    world.finish(held, Reason.USER_ERROR, message="it broke", **evidence)
    failure = world.job(held.job_id).failure
    assert failure is not None
    assert failure.model_dump() == {"reason": "user_error", "message": "it broke", "attempt": 1, **evidence}
    assert world.attempt(held.job_id).failure == failure


def test_long_evidence_is_kept_from_its_end(world: World, held: Claim) -> None:
    world.finish(held, Reason.USER_ERROR, stack="a" * 50_000 + "the error", log_tail="b" * 50_000 + "the end")
    failure = world.job(held.job_id).failure
    assert failure is not None
    assert (failure.stack or "").endswith("the error")
    assert (failure.log_tail or "").endswith("the end")
    assert len(failure.stack or "") == len(failure.log_tail or "") == KEPT_CHARACTERS


def test_a_job_that_succeeds_in_the_end_shows_no_failure(world: World, held: Claim) -> None:
    world.finish(held, Reason.RANK_DIED)
    assert world.job(held.job_id).failure is not None
    world.finish(world.run(world.node()), Reason.COMPLETED, metrics={"accuracy": 0.99, "nothing": float("nan")})
    job = world.job(held.job_id)
    assert (job.failure, job.metrics, job.num_attempts) == (None, {"accuracy": 0.99}, 2)
    assert world.attempt(held.job_id, 1).failure is not None


def test_the_journal_tells_the_story_in_order(world: World, held: Claim) -> None:
    with world.fenced(held) as (tx, passed):
        note_progress(tx, passed, Progress(phase=Phase.TRAINING, step=1, total_steps=4), world.now)
    world.finish(held, Reason.COMPLETED)
    assert _types(world, held.job_id) == [
        "job.submitted",
        "attempt.claimed",
        "attempt.started",
        "phase.started",
        "attempt.succeeded",
        "job.succeeded",
    ]


@pytest.mark.parametrize("reason", [Reason.COMPLETED, Reason.RANK_DIED, Reason.DRAINED, Reason.CANCELLED])
def test_the_same_report_again_is_answered_alike_and_changes_nothing(world: World, held: Claim, reason: Reason) -> None:
    reply = world.finish(held, reason)
    before = world.columns(held.job_id)
    world.pass_time(0)
    assert world.finish(held, reason) == reply
    assert world.columns(held.job_id) == before


def test_the_same_report_is_answered_alike_even_when_the_next_attempt_runs(world: World, held: Claim) -> None:
    reply = world.finish(held, Reason.DRAINED)
    world.run(world.node())
    assert world.finish(held, Reason.DRAINED) == reply
    assert reply.job_state == JobState.QUEUED


def test_another_report_after_the_end_is_refused(world: World, held: Claim) -> None:
    world.finish(held, Reason.COMPLETED)
    with pytest.raises(LeaseLost):
        world.finish(held, Reason.USER_ERROR)
    assert world.job(held.job_id).state == JobState.SUCCEEDED


def test_the_end_of_an_attempt_closes_its_phases_and_counts_its_time(world: World, held: Claim) -> None:
    with world.fenced(held) as (tx, passed):
        note_progress(tx, passed, Progress(phase=Phase.PREPARING), world.now)
    world.pass_time(5)
    with world.fenced(held) as (tx, passed):
        note_progress(tx, passed, Progress(phase=Phase.TRAINING), world.now)
    world.pass_time(20)
    assert world.job(held.job_id).phase == Phase.TRAINING
    world.finish(held, Reason.COMPLETED)
    job = world.job(held.job_id)
    assert job.phase is None
    lengths = [(span.phase, (span.ended_at - span.started_at).total_seconds()) for span in job.phases if span.ended_at]
    assert lengths == [(Phase.PREPARING, 5), (Phase.TRAINING, 20)]
    assert world.columns(held.job_id).seconds_used == 25


def _commit_checkpoint(world: World, held: Claim, step: int) -> None:
    with world.fenced(held) as (tx, passed):
        commit_checkpoint(tx, passed, CheckpointRequest(step=step, manifest=Manifest(files=())), world.now)


def test_checkpoint_progress_gives_the_budgets_back(world: World) -> None:
    job_id, node = world.submit(), world.node()
    for _ in range(3):
        world.pass_time(100)
        world.finish(world.run(node), Reason.HANG)
    world.pass_time(100)
    held = world.run(node)
    _commit_checkpoint(world, held, 10)
    world.finish(held, Reason.HANG)
    assert world.job(job_id).state == JobState.QUEUED
    assert world.columns(job_id).infrastructure_failures == 1


def test_a_checkpoint_that_goes_no_further_does_not(world: World) -> None:
    job_id, node = world.submit(), world.node()
    for _ in range(4):
        world.pass_time(100)
        held = world.run(node)
        _commit_checkpoint(world, held, 10)
        world.finish(held, Reason.HANG)
    # The first attempt's checkpoint was progress: its own hang is the first that counts.
    assert world.columns(job_id).infrastructure_failures == 4
    assert world.job(job_id).state == JobState.FAILED


def test_the_next_attempt_is_offered_the_checkpoints_furthest_first(world: World, held: Claim) -> None:
    _commit_checkpoint(world, held, 10)
    _commit_checkpoint(world, held, 20)
    world.lose(held)
    offered = world.claim(world.node()).checkpoints
    assert [(source.step, source.attempt_id) for source in offered] == [(20, held.attempt_id), (10, held.attempt_id)]


def test_promise_12_a_job_at_rest_is_cancelled_at_once(world: World) -> None:
    queued, paused = world.submit(), world.submit()
    world.pause(paused)
    for job_id in (queued, paused):
        job = world.cancel(job_id)
        assert (job.state, job.reason, job.is_terminal) == (JobState.CANCELLED, Reason.CANCELLED, True)
        assert job.finished_at is not None
    assert world.try_claim(world.node()) is None


@pytest.mark.parametrize("reason", [reason for reason in REPORTED if reason is not Reason.COMPLETED])
def test_a_cancelled_job_is_cancelled_however_its_attempt_ends(world: World, held: Claim, reason: Reason) -> None:
    assert world.cancel(held.job_id).state == JobState.CANCELLING
    world.finish(held, reason)
    job = world.job(held.job_id)
    assert (job.state, job.reason, job.failure) == (JobState.CANCELLED, Reason.CANCELLED, None)
    assert_sound(world)


def test_promise_12_a_cancelled_job_whose_worker_is_dead_ends_with_its_lease(world: World, held: Claim) -> None:
    world.cancel(held.job_id)
    world.lose(held)
    assert world.job(held.job_id).state == JobState.CANCELLED
    assert world.attempt(held.job_id).state == AttemptState.LOST
    assert world.try_claim(world.node()) is None


def test_promise_03_cancelling_what_has_ended_answers_it_as_it_is(world: World, held: Claim) -> None:
    world.finish(held, Reason.COMPLETED)
    before = world.columns(held.job_id)
    assert world.cancel(held.job_id).state == JobState.SUCCEEDED
    assert world.columns(held.job_id) == before


def test_cancelling_twice_is_once(world: World, held: Claim) -> None:
    world.cancel(held.job_id)
    before = world.columns(held.job_id)
    world.cancel(held.job_id)
    assert world.columns(held.job_id) == before


def test_a_training_that_finished_before_it_heard_of_the_cancel_has_succeeded(world: World, held: Claim) -> None:
    world.cancel(held.job_id)
    world.finish(held, Reason.COMPLETED)
    assert world.job(held.job_id).state == JobState.SUCCEEDED


def test_pause_and_resume(world: World, held: Claim) -> None:
    assert world.pause(held.job_id).state == JobState.PAUSING
    assert world.pause(held.job_id).state == JobState.PAUSING
    with pytest.raises(IllegalMove):
        world.resume(held.job_id)
    world.finish(held, Reason.PAUSED)
    job = world.job(held.job_id)
    assert (job.state, job.reason, job.is_terminal) == (JobState.PAUSED, Reason.PAUSED, False)
    assert world.try_claim(world.node()) is None
    assert world.resume(held.job_id).state == JobState.QUEUED
    assert world.claim(world.node()).attempt == 2


def test_a_queued_job_is_paused_at_once(world: World) -> None:
    job_id = world.submit()
    assert world.pause(job_id).state == JobState.PAUSED
    world.resume(job_id)
    assert world.claim(world.node()).job_id == job_id


def test_a_pausing_job_that_is_lost_rests(world: World, held: Claim) -> None:
    world.pause(held.job_id)
    world.lose(held)
    assert world.job(held.job_id).state == JobState.PAUSED


def test_what_has_ended_can_neither_be_paused_nor_resumed(world: World, held: Claim) -> None:
    world.finish(held, Reason.COMPLETED)
    for ask in (world.pause, world.resume):
        with pytest.raises(IllegalMove):
            ask(held.job_id)


def test_nodes_that_are_lost_for_ever_do_not_run_a_job_for_ever(world: World) -> None:
    job_id, node = world.submit(), world.node()
    for _ in range(6):
        world.pass_time(300)
        world.lose(world.run(node))
    job = world.job(job_id)
    assert (job.state, job.reason, job.num_attempts) == (JobState.FAILED, Reason.NODE_LOST, 6)
    assert_sound(world)


def test_the_terminal_line_is_the_last_one(world: World, held: Claim) -> None:
    world.finish(held, Reason.USER_ERROR)
    with world.db.read() as tx:
        last = tx.scalars(select(events.c.type).where(events.c.job_id == held.job_id).order_by(events.c.seq.desc())).first()
    assert last == "job.failed"
