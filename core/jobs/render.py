"""The row of a job, and of its newest attempt, as the wire model that a client sees, and the same as JSON text.

The stored spec is JSON already: the text is spliced in unread, which is what makes polling cheap.
"""

import json
from typing import Any

from core.db.base import AnyRow
from core.db.tables import attempts, jobs
from core.recipes import parse_spec
from core.states import FINAL, HOLDING_A_LEASE, JobState, Phase
from core.wire.base import rfc3339
from core.wire.jobs import Failure, Job, PhaseSpan, Progress

JOB_COLUMNS = (
    jobs.c.id,
    jobs.c.name,
    jobs.c.recipe,
    jobs.c.spec,
    jobs.c.labels,
    jobs.c.state,
    jobs.c.reason,
    jobs.c.failure,
    jobs.c.priority,
    jobs.c.devices_per_node,
    jobs.c.accelerator,
    jobs.c.isolation,
    jobs.c.num_attempts,
    jobs.c.metrics,
    jobs.c.version,
    jobs.c.available_at,
    jobs.c.created_at,
    jobs.c.updated_at,
    jobs.c.started_at,
    jobs.c.finished_at,
    jobs.c.cancel_requested_at,
    attempts.c.phases,
    attempts.c.progress,
    attempts.c.latest_metrics,
)
_BEFORE_SPEC = list(Job.model_fields)[: list(Job.model_fields).index("spec")]
_AFTER_SPEC = list(Job.model_fields)[len(_BEFORE_SPEC) + 1 :]
_INSTANTS = ("created_at", "updated_at", "available_at", "started_at", "finished_at", "cancel_requested_at")


def job_model(row: AnyRow, waiting_for: str | None) -> Job:
    """``row`` has JOB_COLUMNS, the attempt's joined from the newest one, null before the first."""
    return Job.model_validate({**_fields(row, waiting_for), "spec": parse_spec(row.spec)})


def job_text(row: AnyRow, waiting_for: str | None) -> bytes:
    """The same as JSON."""
    fields = _fields(row, waiting_for)
    fields |= {name: rfc3339(fields[name]) for name in _INSTANTS if fields[name] is not None}
    for name, model in (("failure", Failure), ("progress", Progress)):
        if fields[name] is not None:  # may have been stored by a version that knew fewer fields
            fields[name] = model.model_validate(fields[name]).model_dump(mode="json")
    fields["phases"] = [PhaseSpan.model_validate(span).model_dump(mode="json") for span in fields["phases"]]
    before, after = ({name: fields[name] for name in names} for names in (_BEFORE_SPEC, _AFTER_SPEC))
    return f'{_json(before)[:-1]},"spec":{row.spec},{_json(after)[1:]}'.encode()


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _fields(row: AnyRow, waiting_for: str | None) -> dict[str, Any]:
    """All fields of a Job but the spec."""
    state = JobState(row.state)
    phases = row.phases or []
    is_held = state in HOLDING_A_LEASE
    return {
        "object": "job",
        "id": row.id,
        "name": row.name,
        "recipe": row.recipe,
        "state": row.state,
        "is_terminal": state in FINAL,
        "reason": row.reason,
        "waiting_for": waiting_for,
        "phase": phases[-1]["phase"] if is_held and phases else None,
        "phases": phases,
        "progress": row.progress,
        "seconds_left": _seconds_left(phases, row.progress) if is_held else None,
        "num_attempts": row.num_attempts,
        "failure": row.failure,
        "metrics": {**(row.metrics or {}), **(row.latest_metrics or {})} if is_held else row.metrics or {},
        "labels": row.labels,
        "priority": row.priority,
        **{name: getattr(row, name) for name in _INSTANTS},
    }


def _seconds_left(phases: list[dict[str, Any]], progress: dict[str, Any] | None) -> float | None:
    """The rest of the steps at the pace of this phase so far, both by the node's clock; None until there is a pace."""
    if not phases or progress is None or phases[-1]["phase"] != Phase.TRAINING:
        return None
    total, at, first_at = progress["total_steps"], progress["at"], phases[-1].get("first_at")
    if total is None or at is None or first_at is None:
        return None
    steps = progress["step"] - phases[-1]["first_step"]
    if steps <= 0 or at <= first_at:
        return None
    steps_left: int = max(total - progress["step"], 0)
    return float(round(steps_left * (at - first_at) / steps, 3))
