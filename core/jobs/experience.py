"""What earlier jobs tell about one that is not submitted yet: its pace, its memory, how long it will wait."""

import json
from statistics import median
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from core.db.base import AnyRow
from core.db.clock import db_now
from core.db.tables import attempts, jobs
from core.jobs.fleet import Fleet
from core.spec import JobSpec
from core.states import JobState
from core.wire.outlook import Estimate, QueueAhead

_LOOKED_AT = 200  # newest jobs of the recipe
_ENOUGH = 5
# Of ``training``, what a step's time and memory do not depend on.
_NO_MATTER = frozenset(
    {"epochs", "max_steps", "learning_rate", "schedule", "weight_decay", "label_smoothing", "log_every_steps"}
    | {"warmup_epochs", "warmup_steps", "decay_share", "final_rate_share", "momentum", "beta1", "beta2", "l1", "l2"}
)

_DONE = (
    select(jobs.c.id, jobs.c.spec, jobs.c.metrics, attempts.c.progress)
    .join(attempts, (attempts.c.job_id == jobs.c.id) & (attempts.c.number == jobs.c.num_attempts))
    .where(
        jobs.c.project_id == bindparam("project"),
        jobs.c.state == JobState.SUCCEEDED,
        jobs.c.recipe == bindparam("recipe"),
        jobs.c.num_attempts == 1,  # a resumed one tells the seconds of its last attempt alone
    )
    .order_by(jobs.c.id.desc())
    .limit(_LOOKED_AT)
)
_AHEAD = select(func.count(), func.sum(jobs.c.devices_per_node)).where(
    text("state = 'queued'"), jobs.c.available_at <= db_now(), jobs.c.priority >= bindparam("priority")
)
# Of every project: the pace of the whole service, in which no single job can be recognised.
_PACE = select(jobs.c.seconds_used, jobs.c.devices_per_node).where(jobs.c.state == JobState.SUCCEEDED).order_by(jobs.c.id.desc()).limit(50)


def estimate(tx: Connection, project_id: str, spec: JobSpec, *, num_training_rows: int | None = None) -> Estimate:
    """Steps from the spec and the number of rows; seconds and bytes by the earlier jobs that are most like it."""
    ours = _weight(json.loads(spec.model_dump_json()))
    alike: list[AnyRow] = []
    for row in tx.execute(_DONE, {"project": project_id, "recipe": spec.recipe}):
        if len(alike) < _ENOUGH and row.metrics is not None and _weight(json.loads(row.spec)) == ours:
            alike.append(row)
    num_steps = spec.num_steps(num_training_rows)
    paces = [pace for row in alike if (pace := _seconds_per_step(row)) is not None]
    memory = [row.metrics["memory_bytes"] for row in alike if "memory_bytes" in row.metrics]
    return Estimate(
        num_training_rows=num_training_rows,
        num_steps=num_steps,
        seconds=round(num_steps * median(paces), 3) if paces and num_steps is not None else None,
        memory_bytes=median(memory) if memory else None,
        from_jobs=[row.id for row in alike],
    )


def queue_ahead(tx: Connection, spec: JobSpec) -> QueueAhead:
    """Devices times seconds of all that is ahead, over the devices of the nodes that could take the job."""
    num_jobs, num_devices = tx.execute(_AHEAD, {"priority": spec.priority}).one()
    nodes = [node for node in Fleet.load(tx).nodes if not node.is_draining and spec.resources.accelerator in ("auto", node.accelerator)]
    large = [node for node in nodes if node.num_devices >= spec.resources.devices_per_node]
    if not large:
        return QueueAhead(num_jobs=num_jobs, seconds=None)
    if not num_jobs and any(node.num_free >= spec.resources.devices_per_node for node in large):
        return QueueAhead(num_jobs=0, seconds=0.0)
    usual = [row.seconds_used for row in tx.execute(_PACE)]
    if not usual:
        return QueueAhead(num_jobs=num_jobs, seconds=None)
    # Those that run now have half their time left, on average.
    busy = sum(node.num_devices - node.num_free for node in large) / 2
    seconds = median(usual) * ((num_devices or 0) + busy) / sum(node.num_devices for node in large)
    return QueueAhead(num_jobs=num_jobs, seconds=round(seconds, 3))


def _weight(spec: dict[str, Any]) -> list[Any]:
    """What decides how heavy a step is. The data's own section counts: it sets sizes and lengths."""
    training = {name: value for name, value in spec["training"].items() if name not in _NO_MATTER}
    return [spec["model"], spec["data"], training, spec.get("fine_tuning"), spec["resources"]]


def _seconds_per_step(row: AnyRow) -> float | None:
    steps = (row.progress or {}).get("step")
    seconds = row.metrics.get("training_seconds")
    return float(seconds) / int(steps) if steps and seconds is not None else None
