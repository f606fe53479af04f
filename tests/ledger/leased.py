"""Jobs with a live attempt, straight in the tables: what tests of fenced writes start from."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import insert, update

from core.db.engine import Database
from core.db.tables import attempts, jobs, members, projects, workers
from core.ids import new_id
from core.jobs.leases import lease_sha256, new_lease_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Leased:
    """A live attempt and the token that may write for it."""

    project_id: str
    job_id: str
    attempt_id: str
    token: str
    number: int


def new_job(db: Database, *, spec: str = '{"recipe":"scripted"}', project_id: str | None = None) -> tuple[str, str]:
    """Ids of a project and of a running job in it."""
    job_id = new_id("job")
    with db.begin() as tx:
        if project_id is None:
            project_id = new_id("proj")
            tx.execute(insert(projects).values(id=project_id, name=project_id[-20:], created_at=NOW))
        row = {"id": job_id, "project_id": project_id, "recipe": "scripted", "spec": spec, "labels": {}, "state": "running"}
        asked = {"priority": 0, "nodes": 1, "devices_per_node": 1, "accelerator": "auto"}
        tx.execute(insert(jobs).values(**row, **asked, created_at=NOW, updated_at=NOW, available_at=NOW, num_attempts=1))
    return project_id, job_id


def new_attempt(db: Database, project_id: str, job_id: str, number: int = 1) -> Leased:
    """A live attempt of the job on a worker of its own."""
    worker_id, attempt_id, token = new_id("wrk"), new_id("att"), new_lease_token()
    with db.begin() as tx:
        node = {"id": worker_id, "name": worker_id, "accelerator": "cpu", "devices": [], "num_devices": 1, "launch": "cold", "version": "1"}
        tx.execute(insert(workers).values(**node, seen_until=0.0, last_seen_at=NOW, created_at=NOW))
        tx.execute(insert(attempts).values(id=attempt_id, job_id=job_id, number=number, state="running", created_at=NOW))
        member = {"attempt_id": attempt_id, "node_rank": 0, "worker_id": worker_id, "devices": [0], "lease_sha256": lease_sha256(token)}
        tx.execute(insert(members).values(**member, lease_until=4e9))
    return Leased(project_id, job_id, attempt_id, token, number)


def leased(db: Database) -> Leased:
    """The first attempt of a new job."""
    return new_attempt(db, *new_job(db))


def end(db: Database, lease: Leased, state: str = "lost", *, job_state: str | None = None) -> None:
    """The attempt is over, and with ``job_state`` its job too."""
    with db.begin() as tx:
        tx.execute(update(attempts).where(attempts.c.id == lease.attempt_id).values(state=state))
        if job_state is not None:
            tx.execute(update(jobs).where(jobs.c.id == lease.job_id).values(state=job_state))
