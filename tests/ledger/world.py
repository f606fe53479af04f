"""A small world on a fresh ledger: one project, nodes, jobs and their leases, in the words of the verbs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, text, update

from core.access.projects import ensure_project
from core.clock import FakeClock
from core.db.engine import Database
from core.db.tables import attempts, jobs, members, workers
from core.jobs.cancel import cancel
from core.jobs.claim import claim
from core.jobs.events import list_events
from core.jobs.finish import finish
from core.jobs.leases import Fence, fence, renew, start
from core.jobs.pause import pause
from core.jobs.queries import get_attempt, get_job
from core.jobs.reap import reap
from core.jobs.resume import resume
from core.jobs.submit import submit
from core.recipes import parse_spec
from core.states import Reason
from core.wire.jobs import Attempt, Event, Job
from core.wire.worker import Claim, ClaimRequest, DeviceInfo, FinishReply, FinishRequest, RegisterRequest, StartRequest
from core.workers.register import register

TTL = 60.0
# Real seconds of a test are nothing beside it, so only ``World.pass_time`` makes a lease run out.
LONG = 1_000_000.0


def spec_text(**overrides: object) -> str:
    return json.dumps({"recipe": "scripted", **overrides})


@dataclass
class World:
    db: Database
    clock: FakeClock = field(default_factory=lambda: FakeClock(datetime(2026, 1, 1, tzinfo=UTC)))
    project: str = ""

    def __post_init__(self) -> None:
        with self.db.begin() as tx:
            self.project = ensure_project(tx, "default", self.now)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def pass_time(self, seconds: float) -> None:
        """The clock goes on; for the database, whose clock is real, every instant that it judges moves back instead."""
        self.clock.advance(timedelta(seconds=seconds))
        with self.db.begin() as tx:
            tx.execute(update(members).values(lease_until=members.c.lease_until - seconds))
            tx.execute(update(workers).values(seen_until=workers.c.seen_until - seconds))
            tx.execute(text("UPDATE jobs SET available_at = available_at - :seconds"), {"seconds": seconds})

    def node(self, name: str = "node-1", *, devices: int = 2, accelerator: str = "cpu", isolation: str = "limits") -> str:
        infos = tuple(DeviceInfo(index=index, name="slot") for index in range(devices))
        facts = {"name": name, "protocol": 1, "version": "1", "accelerator": accelerator, "devices": infos}
        request = RegisterRequest.model_validate({**facts, "isolation": {"level": isolation}}, strict=False)
        with self.db.begin() as tx:
            return register(tx, request, ttl_seconds=LONG, now=self.now).worker_id

    def submit(self, *, project: str | None = None, max_queued: int = 10_000, **overrides: object) -> str:
        with self.db.begin() as tx:
            spec = parse_spec(spec_text(**overrides))
            return submit(tx, project_id=project or self.project, spec=spec, now=self.now, max_queued=max_queued)

    def try_claim(self, worker_id: str, devices: tuple[int, ...] = (0, 1), *, ttl: float = TTL + LONG) -> Claim | None:
        with self.db.begin() as tx:
            return claim(tx, request=ClaimRequest(worker_id=worker_id, devices=devices), ttl_seconds=ttl, now=self.now)

    def claim(self, worker_id: str, devices: tuple[int, ...] = (0, 1), *, ttl: float = TTL + LONG) -> Claim:
        claimed = self.try_claim(worker_id, devices, ttl=ttl)
        assert claimed is not None
        return claimed

    def start(self, held: Claim) -> Fence:
        with self.db.begin() as tx:
            return start(tx, held.attempt_id, held.lease_token, StartRequest(launched="warm"), self.now)

    def run(self, worker_id: str, devices: tuple[int, ...] = (0, 1), *, ttl: float = TTL + LONG) -> Claim:
        """Claims and starts."""
        held = self.claim(worker_id, devices, ttl=ttl)
        self.start(held)
        return held

    def beat(self, held: Claim, *, ttl: float = TTL + LONG) -> Fence:
        with self.db.begin() as tx:
            return renew(tx, held.attempt_id, held.lease_token, ttl)

    @contextmanager
    def fenced(self, held: Claim) -> Iterator[tuple[Connection, Fence]]:
        with self.db.begin() as tx:
            yield tx, fence(tx, held.attempt_id, held.lease_token)

    def finish(self, held: Claim, reason: Reason, **report: Any) -> FinishReply:
        with self.db.begin() as tx:
            return finish(tx, held.attempt_id, held.lease_token, FinishRequest(reason=reason, **report), self.now)

    def reap(self) -> list[str]:
        with self.db.begin() as tx:
            return reap(tx, now=self.now)

    def lose(self, held: Claim) -> None:
        """The lease of this attempt runs out and is reaped."""
        with self.db.begin() as tx:
            tx.execute(update(members).where(members.c.attempt_id == held.attempt_id).values(lease_until=0.0))
        assert self.reap() == [held.job_id]

    def cancel(self, job_id: str) -> Job:
        with self.db.begin() as tx:
            return cancel(tx, self.project, job_id, now=self.now)

    def pause(self, job_id: str) -> Job:
        with self.db.begin() as tx:
            return pause(tx, self.project, job_id, now=self.now)

    def resume(self, job_id: str) -> Job:
        with self.db.begin() as tx:
            return resume(tx, self.project, job_id, now=self.now)

    def job(self, job_id: str) -> Job:
        with self.db.read() as tx:
            return get_job(tx, self.project, job_id)

    def attempt(self, job_id: str, number: int = 1) -> Attempt:
        with self.db.read() as tx:
            return get_attempt(tx, self.project, job_id, number)

    def events(self, job_id: str) -> list[Event]:
        with self.db.read() as tx:
            return list_events(tx, self.project, job_id, limit=10_000)

    def columns(self, job_id: str) -> Any:
        """The job's row, for what the wire does not show."""
        with self.db.read() as tx:
            return tx.execute(select(jobs).where(jobs.c.id == job_id)).one()

    def num_live(self, job_id: str) -> int:
        with self.db.read() as tx:
            live = attempts.c.state.in_(["leased", "running"])
            return len(tx.scalars(select(attempts.c.id).where(attempts.c.job_id == job_id, live)).all())


def assert_sound(world: World) -> None:
    """What must hold of every ledger at every moment."""
    with world.db.snapshot() as tx:
        by_job: dict[str, list[Any]] = {}
        for row in tx.execute(select(attempts).order_by(attempts.c.number)):
            by_job.setdefault(row.job_id, []).append(row)
        for job in tx.execute(select(jobs)).all():
            tries = by_job.get(job.id, [])
            assert [row.number for row in tries] == list(range(1, job.num_attempts + 1))
            live = [row.number for row in tries if row.state in ("leased", "running")]
            assert live == ([job.num_attempts] if job.state in ("running", "pausing", "cancelling") else [])
            journal = list_events(tx, job.project_id, job.id, limit=10_000)
            assert [event.seq for event in journal] == list(range(1, job.event_seq + 1))
            assert (job.finished_at is not None) == (job.state in ("succeeded", "failed", "cancelled"))
            assert [event.type for event in journal if event.type in ("job.succeeded", "job.failed", "job.cancelled")] == (
                [f"job.{job.state}"] if job.finished_at else []
            )
