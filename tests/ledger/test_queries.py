"""Reads: what a client sees of jobs, attempts and their journal."""

import json

import pytest

from core.access.projects import ensure_project
from core.errors import InvalidInput, NotAvailable, NotFound, TooManyQueued
from core.jobs.cancel import cancel
from core.jobs.events import list_events
from core.jobs.pause import pause
from core.jobs.progress import note_progress
from core.jobs.queries import (
    count_jobs,
    get_attempt,
    get_job,
    has_claimable,
    job_json,
    job_version,
    list_attempts,
    list_jobs,
    require_job,
)
from core.jobs.resume import resume
from core.jobs.waiting import waiting_for
from core.recipes import parse_spec
from core.states import JobState, Phase, Reason
from core.wire.jobs import Job, Progress
from core.wire.worker import Claim
from core.workers.drain import drain
from tests.ledger.world import LONG, World, spec_text


def _in_every_state(world: World) -> dict[str, str]:
    """A job in each state, by the state's name."""
    node = world.node(devices=1)
    by_state = {}
    for state, steps in {
        "running": (),
        "pausing": ("pause",),
        "paused": ("pause", Reason.PAUSED),
        "cancelling": ("cancel",),
        "cancelled": ("cancel", Reason.CANCELLED),
        "succeeded": (Reason.COMPLETED,),
        "failed": (Reason.USER_ERROR,),
    }.items():
        job_id = by_state[state] = world.submit(name=state, labels={"state": state})
        held = world.run(node)
        with world.fenced(held) as (tx, passed):
            note_progress(tx, passed, Progress(phase=Phase.TRAINING, step=1, total_steps=9, at=100.0), world.now)
        with world.fenced(held) as (tx, passed):
            note_progress(tx, passed, Progress(phase=Phase.TRAINING, step=3, total_steps=9, at=110.0), world.now)
        for step in steps:
            if isinstance(step, Reason):
                world.finish(held, step, message="caf\u00e9 \u2028", metrics={"loss": 0.5})
            else:
                getattr(world, step)(job_id)
    by_state["queued"] = world.submit(name="queued", labels={"state": "queued"})
    return by_state


def test_the_spliced_text_says_what_the_model_says_in_every_state(world: World) -> None:
    by_state = _in_every_state(world)
    assert set(by_state) == set(JobState)
    for state, job_id in by_state.items():
        with world.db.read() as tx:
            body, version = job_json(tx, world.project, job_id)
            job = get_job(tx, world.project, job_id)
            assert job_version(tx, world.project, job_id) == version
        assert job.state == state
        assert json.loads(body) == job.model_dump(mode="json")
        assert list(json.loads(body)) == list(Job.model_fields)
        assert Job.model_validate_json(body) == job
        assert version.is_terminal == job.is_terminal


def test_progress_gives_phase_and_time_left(world: World) -> None:
    job = world.job(_in_every_state(world)["running"])
    assert (job.phase, job.seconds_left) == (Phase.TRAINING, 30.0)  # six steps at five seconds each
    assert job.progress is not None
    assert (job.progress.step, job.progress.total_steps) == (3, 9)


def test_the_version_is_another_one_whenever_the_answer_is(world: World) -> None:
    job_id = world.submit()
    seen = {}

    def look() -> None:
        with world.db.read() as tx:
            body, version = job_json(tx, world.project, job_id)
        assert seen.setdefault(version.number, body) == body

    look()
    node = world.node(devices=1)
    look()
    held = world.claim(node)
    look()
    world.start(held)
    look()
    for step in (1, 2):
        with world.fenced(held) as (tx, passed):
            note_progress(tx, passed, Progress(phase=Phase.TRAINING, step=step), world.now)
        look()
    world.pause(job_id)
    look()
    world.finish(held, Reason.PAUSED)
    look()
    world.resume(job_id)
    look()
    world.cancel(job_id)
    look()
    look()
    assert len(seen) == 10


def test_a_page_goes_on_where_the_last_one_ended_although_rows_come_in(world: World) -> None:
    oldest_first = [world.submit(name=f"job {number}") for number in range(5)]
    seen: list[str] = []
    after = None
    for _ in range(10):
        with world.db.read() as tx:
            page = list_jobs(tx, world.project, after=after, limit=2)
        seen += [job.id for job in page.data]
        after = page.last_id
        world.submit(name="while paging")
        if not page.has_more:
            break
    assert sorted(seen) == sorted(oldest_first)
    assert seen == sorted(seen, reverse=True)


def test_lists_can_be_narrowed(world: World) -> None:
    by_state = _in_every_state(world)
    with world.db.read() as tx:
        for state in JobState:
            assert [job.id for job in list_jobs(tx, world.project, state=state).data] == [by_state[state]]
        assert [job.id for job in list_jobs(tx, world.project, label="state=paused").data] == [by_state["paused"]]
        assert list_jobs(tx, world.project, label="state=other").data == []
        assert list_jobs(tx, world.project, recipe="image-classification").data == []
        assert len(list_jobs(tx, world.project, recipe="scripted").data) == len(JobState)
        counts = count_jobs(tx)
    assert counts == dict.fromkeys(JobState, 1)


def test_an_empty_page_says_so(world: World) -> None:
    with world.db.read() as tx:
        page = list_jobs(tx, world.project)
    assert (page.data, page.has_more, page.first_id, page.last_id) == ([], False, None, None)


def test_attempts_are_listed_newest_first_and_page(world: World) -> None:
    job_id, node = world.submit(), world.node()
    for _ in range(3):
        world.finish(world.run(node), Reason.DRAINED)
    with world.db.read() as tx:
        first = list_attempts(tx, world.project, job_id, limit=2)
        second = list_attempts(tx, world.project, job_id, limit=2, after=first.last_id)
        assert get_attempt(tx, world.project, job_id, 2) == first.data[1]
    assert [attempt.number for attempt in first.data + second.data] == [3, 2, 1]
    assert (first.has_more, second.has_more) == (True, False)
    assert {attempt.worker for attempt in first.data} == {"node-1"}


def test_events_go_on_after_a_number(world: World) -> None:
    job_id = world.submit()
    world.finish(world.run(world.node()), Reason.COMPLETED)
    with world.db.read() as tx:
        assert [event.seq for event in list_events(tx, world.project, job_id, after=2, limit=2)] == [3, 4]
        assert list_events(tx, world.project, job_id, after=99) == []


def test_promise_23_another_projects_job_looks_like_none(world: World) -> None:
    job_id = world.submit()
    world.run(world.node())
    with world.db.begin() as tx:
        stranger = ensure_project(tx, "strangers", world.now)
        for project, wanted in ((stranger, job_id), (world.project, "job_00000000000000000000000000")):
            for read in (get_job, job_json, job_version, require_job, list_events, list_attempts):
                with pytest.raises(NotFound, match="There is no such object"):
                    read(tx, project, wanted)
            with pytest.raises(NotFound):
                get_attempt(tx, project, wanted, 1)
            for ask in (cancel, pause, resume):
                with pytest.raises(NotFound):
                    ask(tx, project, wanted, now=world.now)
        assert list_jobs(tx, stranger).data == []


def test_more_nodes_than_one_are_not_available_yet(world: World) -> None:
    with pytest.raises(NotAvailable) as caught:
        world.submit(resources={"nodes": 2})
    assert [problem.pointer for problem in caught.value.problems] == ["/resources/nodes"]


def test_a_full_queue_takes_no_more_until_a_job_starts(world: World) -> None:
    world.submit(max_queued=2)
    world.submit(max_queued=2)
    with pytest.raises(TooManyQueued):
        world.submit(max_queued=2)
    world.claim(world.node())
    world.submit(max_queued=2)


def test_a_base_model_must_be_a_succeeded_job_of_the_same_project(world: World) -> None:
    job_id = world.submit()
    with world.db.begin() as tx:
        stranger = ensure_project(tx, "strangers", world.now)
    for project, wanted in ((world.project, job_id), (world.project, "job_" + "0" * 26), (stranger, job_id)):
        with pytest.raises(InvalidInput) as caught:
            world.submit(project=project, base_model={"job": wanted})
        assert [problem.pointer for problem in caught.value.problems] == ["/base_model/job"]
    node = world.node()
    world.finish(world.run(node), Reason.COMPLETED)
    world.submit(base_model={"job": job_id})
    source = world.claim(node).base_model
    assert source is not None
    assert source.job_id == job_id


def _waits(world: World, job_id: str) -> str | None:
    return world.job(job_id).waiting_for


def test_a_queued_job_says_what_it_waits_for(world: World) -> None:
    job_id = world.submit(resources={"devices_per_node": 2, "accelerator": "cpu"})
    assert _waits(world, job_id) == "a worker: none is online"
    world.node("node-gpu", devices=8, accelerator="cuda")
    assert _waits(world, job_id) == "a worker with cpu devices: none is online"
    world.node("node-small", devices=1)
    assert _waits(world, job_id) == "a worker with 2 cpu devices: the largest online has 1"
    large = world.node("node-large", devices=3)
    assert _waits(world, job_id) == "a worker to take it: there are free devices"
    other = world.submit(resources={"devices_per_node": 2, "accelerator": "cpu"}, priority=1)
    held = world.claim(large, (0, 1))
    assert held.job_id == other
    assert _waits(world, job_id) == "2 cpu devices to become free on node-large (1 free)"
    assert _waits(world, other) is None
    with world.db.begin() as tx:
        drain(tx, large, now=world.now)
    assert _waits(world, job_id) == "a worker with 2 cpu devices: those that have them are draining"
    world.pass_time(2 * LONG)
    assert _waits(world, job_id) == "a worker: none is online"


def test_a_job_that_waits_for_its_retry_says_when(world: World) -> None:
    job_id, node = world.submit(), world.node()
    for _ in range(2):
        world.finish(world.run(node), Reason.HANG)
    job = world.job(job_id)
    assert job.waiting_for == f"a retry at {job.available_at:%H:%M:%SZ}"
    with world.db.read() as tx:
        assert not has_claimable(tx)
    world.pass_time(3)
    with world.db.read() as tx:
        assert has_claimable(tx)


def test_a_spec_that_is_only_checked_says_what_it_would_wait_for(world: World) -> None:
    with world.db.read() as tx:
        assert waiting_for(tx, parse_spec(spec_text()), ()) == "a worker: none is online"
    world.node()
    with world.db.read() as tx:
        assert waiting_for(tx, parse_spec(spec_text()), ()) == "a worker to take it: there are free devices"


def test_promise_24_a_lease_token_never_shows_in_what_a_client_reads(world: World) -> None:
    world.submit()
    held: Claim = world.run(world.node())
    world.finish(held, Reason.USER_ERROR)
    shown = world.job(held.job_id).model_dump_json() + world.attempt(held.job_id).model_dump_json()
    shown += "".join(event.model_dump_json() for event in world.events(held.job_id))
    assert held.lease_token.removeprefix("lease_") not in shown
