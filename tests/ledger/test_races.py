"""Verbs at the same moment: whatever the order, the ledger stays sound and exactly one ending stands."""

import random
import threading
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import select, update

from core.db.tables import jobs, members
from core.errors import IllegalMove, LeaseLost, RequestInFlight, TrainyardError
from core.idempotency import recall, remember
from core.jobs.leases import fence
from core.jobs.queries import get_job
from core.jobs.submit import submit
from core.recipes import parse_spec
from core.states import FINAL, JobState, Reason
from core.wire.worker import Claim
from core.workers.drain import drain, undrain
from tests.ledger.world import World, assert_sound, spec_text

TRIALS = 25


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Each action in a thread of its own, all let go together; what each answered or raised."""
    answers: list[object] = [RuntimeError("did not end")] * len(actions)
    barrier = threading.Barrier(len(actions))

    def act(place: int) -> None:
        barrier.wait()
        try:
            answers[place] = actions[place]()
        except Exception as error:  # why: it is the answer that the test judges
            answers[place] = error

    threads = [threading.Thread(target=act, args=(place,)) for place in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def test_promise_03_cancel_races_finish_and_one_terminal_state_stands(world: World) -> None:
    node = world.node()
    for trial in range(TRIALS):
        reason = [Reason.COMPLETED, Reason.USER_ERROR, Reason.RANK_DIED, Reason.DRAINED][trial % 4]
        job_id = world.submit()
        held = world.run(node)
        cancelled, finished = at_once(partial(_cancelled, world, job_id), partial(_finished, world, held, reason))
        assert isinstance(cancelled, str), cancelled
        assert isinstance(finished, str), finished
        state = world.job(job_id).state
        assert state in FINAL
        if cancelled in FINAL or finished in FINAL:  # whoever was answered a terminal state was answered the one
            assert {answer for answer in (cancelled, finished) if answer in FINAL} == {state}
    assert_sound(world)


def test_pause_races_finish(world: World) -> None:
    node = world.node()
    for _ in range(TRIALS):
        job_id = world.submit()
        held = world.run(node)
        paused, finished = at_once(partial(_paused, world, job_id), partial(_finished, world, held, Reason.DRAINED))
        assert isinstance(finished, str), finished
        assert paused in (JobState.PAUSING, JobState.PAUSED)
        assert world.job(job_id).state == JobState.PAUSED
    assert_sound(world)


def test_cancel_races_claim(world: World) -> None:
    node = world.node()
    for _ in range(TRIALS):
        job_id = world.submit()
        cancelled, claimed = at_once(partial(_cancelled, world, job_id), partial(world.try_claim, node))
        assert isinstance(cancelled, str), cancelled
        assert claimed is None or isinstance(claimed, Claim), claimed
        assert cancelled == (JobState.CANCELLED if claimed is None else JobState.CANCELLING)
        if claimed is not None:
            world.finish(claimed, Reason.CANCELLED)
        assert world.job(job_id).state == JobState.CANCELLED
    assert_sound(world)


def test_a_late_beat_races_the_reaper_and_one_of_them_wins(world: World) -> None:
    node = world.node()
    for _ in range(TRIALS):
        job_id = world.submit()
        held = world.run(node)
        with world.db.begin() as tx:
            tx.execute(update(members).where(members.c.attempt_id == held.attempt_id).values(lease_until=0.0))
        beat, reaped = at_once(partial(world.beat, held), world.reap)
        assert isinstance(reaped, list), reaped
        if reaped:
            # The beat was answered before the reaper looked again, or it was refused: never answered and then reaped.
            assert isinstance(beat, LeaseLost)
            held = world.run(node)
        assert world.num_live(job_id) == 1
        world.finish(held, Reason.COMPLETED)
    assert_sound(world)


def test_a_fenced_write_holds_off_the_reaper(world: World) -> None:
    """The reaper leaves a locked attempt for its next pass; on SQLite it waits for the writer."""
    world.submit()
    held = world.run(world.node())
    with world.db.begin() as tx:
        tx.execute(update(members).values(lease_until=0.0))
    inside, written = threading.Event(), threading.Event()
    reaped: list[list[str]] = []

    def write() -> None:
        with world.db.begin() as tx:
            fence(tx, held.attempt_id, held.lease_token)
            inside.set()
            written.wait(1 if world.db.is_sqlite else 30)

    def reap() -> None:
        inside.wait(30)
        reaped.append(world.reap())
        written.set()

    threads = [threading.Thread(target=write), threading.Thread(target=reap)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert reaped == [[held.job_id] if world.db.is_sqlite else []]


def test_a_drain_races_claims_and_no_attempt_is_left_untold(world: World) -> None:
    node = world.node(devices=4)
    for _ in range(10):
        for _ in range(3):
            world.submit()

        def start_draining() -> list[str]:
            with world.db.begin() as tx:
                return sorted(drain(tx, node, now=world.now))

        told, *claims = at_once(start_draining, *[partial(world.try_claim, node, (0,))] * 3)
        held = [claimed for claimed in claims if isinstance(claimed, Claim)]
        assert len(held) == sum(claimed is not None for claimed in claims), claims
        assert told == sorted(claimed.job_id for claimed in held)
        for claimed in held:
            world.finish(claimed, Reason.COMPLETED)
        with world.db.begin() as tx:
            undrain(tx, node)
        while (left := world.try_claim(node)) is not None:
            world.finish(left, Reason.COMPLETED)


def test_promise_15_the_same_key_at_once_makes_one_job(world: World) -> None:
    def post(digest: str) -> str:
        key = {"project_id": world.project, "method": "POST", "path": "/v1/jobs", "key": "k", "body_sha256": digest}
        for _ in range(50):
            try:
                with world.db.begin() as tx:
                    stored = recall(tx, **key)
                    if stored is not None:
                        return stored.body
                    job_id = submit(tx, project_id=world.project, spec=parse_spec(spec_text()), now=world.now, max_queued=10)
                    remember(tx, **key, status=201, body=job_id, now=world.now)
                    return job_id
            except RequestInFlight:
                continue
        raise AssertionError("never answered")

    answers = at_once(*[lambda: post("a" * 64)] * 8)
    assert len(set(map(str, answers))) == 1, answers
    with world.db.read() as tx:
        assert get_job(tx, world.project, str(answers[0])).state == JobState.QUEUED
    assert len(_all_jobs(world)) == 1


@pytest.mark.parametrize("seed", range(2))
def test_everything_at_once_leaves_a_sound_ledger_and_no_deadlock(world: World, seed: int) -> None:
    nodes = [world.node("node-1"), world.node("node-2")]
    for _ in range(4):
        world.submit(retry={"on": ["numeric"], "max_retries": 3})
    failed: list[BaseException] = []
    expiring = threading.Lock()

    def live(thread: int) -> None:
        dice = random.Random(f"{seed}.{thread}")
        for _ in range(25):
            try:
                _one_step(world, dice, nodes, expiring)
            except (IllegalMove, LeaseLost):
                pass
            except TrainyardError as error:
                failed.append(error.__cause__ or error)
            except Exception as error:  # why: a thread's error must reach the test
                failed.append(error)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert failed == []
    assert_sound(world)


def _cancelled(world: World, job_id: str) -> str:
    return world.cancel(job_id).state


def _paused(world: World, job_id: str) -> str:
    return world.pause(job_id).state


def _finished(world: World, held: Claim, reason: Reason) -> str:
    return world.finish(held, reason).job_state


def _all_jobs(world: World) -> list[str]:
    with world.db.read() as tx:
        return list(tx.scalars(select(jobs.c.id).order_by(jobs.c.id)))


def _one_step(world: World, dice: random.Random, nodes: list[str], expiring: threading.Lock) -> None:
    job_id = dice.choice(_all_jobs(world))
    match dice.choice(["submit", "claim", "claim", "claim", "cancel", "pause", "resume", "reap", "drain"]):
        case "submit":
            world.submit()
        case "claim":
            held = world.try_claim(dice.choice(nodes))
            if held is not None:
                world.start(held)
                world.beat(held)
                if dice.random() < 0.8:
                    world.finish(held, dice.choice([Reason.COMPLETED, Reason.DRAINED, Reason.NUMERIC, Reason.HANG, Reason.PAUSED]))
        case "cancel":
            world.cancel(job_id)
        case "pause":
            world.pause(job_id)
        case "resume":
            world.resume(job_id)
        case "reap":
            # One at a time: two updates of all rows may lock them in different orders.
            with expiring, world.db.begin() as tx:
                tx.execute(update(members).values(lease_until=0.0))
            world.reap()
        case "drain":
            with world.db.begin() as tx:
                drain(tx, nodes[0], now=world.now)
            with world.db.begin() as tx:
                undrain(tx, nodes[0])
