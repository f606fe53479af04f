"""Notes where a running attempt stands: phase, step, total."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from core.db.tables import attempts, jobs
from core.jobs.journal import record
from core.jobs.leases import Fence
from core.wire.base import rfc3339
from core.wire.jobs import Progress

_PHASES = select(attempts.c.phases).where(attempts.c.id == bindparam("attempt"))
_NOTE = (
    update(attempts)
    .where(attempts.c.id == bindparam("attempt"))
    .values(
        progress=bindparam("b_progress", type_=attempts.c.progress.type),
        phases=bindparam("b_phases", type_=attempts.c.phases.type),
    )
)
_TOUCH = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"))
    .values(version=jobs.c.version + 1, updated_at=bindparam("now", type_=jobs.c.updated_at.type))
)


def note_progress(tx: Connection, fence: Fence, progress: Progress, now: datetime) -> None:
    """Replaces the attempt's progress. A phase other than the present one ends that and begins, with a line in the journal."""
    phases: list[dict[str, Any]] = tx.scalars(_PHASES, {"attempt": fence.attempt_id}).one() or []
    is_new = not phases or phases[-1]["phase"] != progress.phase
    if is_new:
        ended = [{**span, "ended_at": span["ended_at"] or rfc3339(now)} for span in phases]
        # The node's own clock and the step it began at give the pace, see render.py.
        begun = {
            "phase": progress.phase,
            "started_at": rfc3339(now),
            "ended_at": None,
            "first_at": progress.at,
            "first_step": progress.step,
        }
        phases = [*ended, begun]
    values = {"b_progress": progress.model_dump(mode="json"), "b_phases": phases}
    tx.execute(_NOTE, {"attempt": fence.attempt_id, **values})
    if is_new:
        data = {"phase": progress.phase.value, "step": progress.step}
        record(tx, fence.job_id, "phase.started", f"{progress.phase} began", at=now, attempt=fence.number, data=data)
    else:
        tx.execute(_TOUCH, {"job": fence.job_id, "now": now})
