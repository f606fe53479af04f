"""The nodes as an operator sees them. They serve every project; whose jobs they run is shown to their owners alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select, text

from core.db.base import AnyRow
from core.db.clock import db_now
from core.db.tables import attempts, jobs, members, workers
from core.errors import NotFound
from core.wire.base import Page, page_of
from core.wire.worker import Isolation, Worker

_WORKERS = select(workers, (workers.c.seen_until >= db_now()).label("is_online"))
_HELD = (
    select(members.c.worker_id, members.c.devices, jobs.c.id, jobs.c.project_id)
    .join_from(attempts, members, members.c.attempt_id == attempts.c.id)
    .join(jobs, attempts.c.job_id == jobs.c.id)
    .where(text("attempts.state IN ('leased', 'running')"), members.c.worker_id.in_(bindparam("workers", expanding=True)))
    .order_by(jobs.c.id)
)


@dataclass(slots=True)
class _Load:
    num_busy: int = 0
    jobs: list[str] = field(default_factory=list)


def list_workers(tx: Connection, project_id: str, *, after: str | None = None, limit: int = 20) -> Page[Worker]:
    """Newest first."""
    query = _WORKERS.order_by(workers.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(workers.c.id < after)
    return page_of(_models(tx, project_id, tx.execute(query).all()), limit)


def get_worker(tx: Connection, project_id: str, worker_id: str) -> Worker:
    row = tx.execute(_WORKERS.where(workers.c.id == worker_id)).one_or_none()
    if row is None:
        raise NotFound
    return _models(tx, project_id, [row])[0]


def _models(tx: Connection, project_id: str, rows: Sequence[AnyRow]) -> list[Worker]:
    loads = {row.id: _Load() for row in rows}
    for held in tx.execute(_HELD, {"workers": list(loads)}):
        load = loads[held.worker_id]
        load.num_busy += len(held.devices)
        if held.project_id == project_id:
            load.jobs.append(held.id)
    return [_model(row, loads[row.id]) for row in rows]


def _model(row: AnyRow, load: _Load) -> Worker:
    if not row.is_online:
        state = "offline"
    elif row.is_draining:
        state = "draining" if load.num_busy else "drained"
    else:
        state = "online"
    walls = {name: tuple(texts) for name, texts in (row.walls or {}).items()}
    isolation = Isolation(level=row.isolation, **walls)
    return Worker.model_validate({**row._mapping, "state": state, "num_busy": load.num_busy, "jobs": load.jobs, "isolation": isolation})
