"""Random lives of jobs, one step at a time: whatever happens in whatever order, the ledger stays sound."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule, run_state_machine_as_test
from sqlalchemy import select

from core.db.tables import jobs
from core.errors import IllegalMove, LeaseLost
from core.jobs.progress import note_progress
from core.states import FINAL, JobState, Phase, Reason
from core.wire.jobs import Progress
from core.wire.worker import Claim
from core.workers.drain import drain, undrain
from tests.ledger.world import LONG, TTL, World, assert_sound

REPORTS = st.sampled_from([reason for reason in Reason if reason is not Reason.NODE_LOST])
NODES = st.sampled_from(["node-1", "node-2"])
LIVES = settings(max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))


class Life(RuleBasedStateMachine):
    """Nodes that claim, beat, freeze, thaw, finish and vanish; people who submit, cancel, pause and resume."""

    submitted: Bundle[str] = Bundle("submitted")
    leases: Bundle[Claim] = Bundle("leases")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.ended: dict[str, str] = {}
        self.highest: dict[str, int] = {}

    @initialize()
    def two_nodes(self) -> None:
        self.nodes = {name: self.world.node(name) for name in ("node-1", "node-2")}

    @rule(target=submitted, retries=st.integers(0, 2), priority=st.integers(-1, 1))
    def submit(self, retries: int, priority: int) -> str:
        return self.world.submit(priority=priority, retry={"on": ["numeric", "user_error"], "max_retries": retries})

    @rule(target=leases, node=NODES, starts=st.booleans())
    def claim(self, node: str, starts: bool) -> Any:
        held = self.world.try_claim(self.nodes[node], ttl=LONG)
        if held is None:
            return multiple()
        if starts:
            self.world.start(held)
        return held

    @rule(held=leases)
    def beat(self, held: Claim) -> None:
        self._as_holder(held, lambda: self.world.beat(held, ttl=LONG))

    @rule(held=leases, step=st.integers(0, 5), phase=st.sampled_from(list(Phase)))
    def ship_progress(self, held: Claim, step: int, phase: Phase) -> None:
        def note() -> None:
            with self.world.fenced(held) as (tx, passed):
                note_progress(tx, passed, Progress(phase=phase, step=step), self.world.now)

        self._as_holder(held, note)

    @rule(held=leases, reason=REPORTS)
    def finish(self, held: Claim, reason: Reason) -> None:
        self._as_holder(held, lambda: self.world.finish(held, reason))

    @rule(held=leases, reason=REPORTS)
    def lose_the_answer_and_finish_again(self, held: Claim, reason: Reason) -> None:
        with suppress(LeaseLost):
            reply = self.world.finish(held, reason)
            assert self.world.finish(held, reason) == reply

    @rule(thawed=leases)
    def all_freeze_and_one_thaws_before_the_reaper_comes(self, thawed: Claim) -> None:
        self.world.pass_time(LONG + TTL)
        before = self.world.num_live(thawed.job_id)
        with suppress(LeaseLost):
            self.world.beat(thawed, ttl=LONG)
            assert before == 1
        self.world.reap()

    @rule()
    def all_vanish(self) -> None:
        self.world.pass_time(LONG + TTL)
        self.world.reap()
        assert self.world.reap() == []

    @rule(node=NODES)
    def drain_and_take_back(self, node: str) -> None:
        with self.world.db.begin() as tx:
            drain(tx, self.nodes[node], now=self.world.now)
            undrain(tx, self.nodes[node])

    @rule(job_id=submitted)
    def cancel(self, job_id: str) -> None:
        self.world.cancel(job_id)

    @rule(job_id=submitted, ask=st.sampled_from(["pause", "resume"]))
    def ask(self, job_id: str, ask: str) -> None:
        before = self.world.columns(job_id)
        try:
            getattr(self.world, ask)(job_id)
        except IllegalMove:
            assert self.world.columns(job_id) == before

    def _as_holder(self, held: Claim, act: Callable[[], object]) -> None:
        """Whoever holds the live attempt's lease may act; anyone else is refused and has changed nothing."""
        before = self.world.columns(held.job_id)
        try:
            act()
        except LeaseLost:
            assert self.world.columns(held.job_id) == before

    @invariant()
    def the_ledger_is_sound(self) -> None:
        assert_sound(self.world)

    @invariant()
    def numbers_only_rise_and_endings_stand(self) -> None:
        with self.world.db.read() as tx:
            rows = tx.execute(select(jobs.c.id, jobs.c.state, jobs.c.num_attempts)).all()
        for job in rows:
            assert job.num_attempts >= self.highest.get(job.id, 0)
            assert self.ended.get(job.id, job.state) == job.state
            self.highest[job.id] = job.num_attempts
            if JobState(job.state) in FINAL:
                self.ended[job.id] = job.state


def test_promise_01_and_03_random_lives_keep_the_ledger_sound(new_world: Callable[[], World]) -> None:
    run_state_machine_as_test(lambda: Life(new_world()), settings=LIVES)
