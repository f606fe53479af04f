"""Gives a worker the next job that fits the devices it offers, under a fresh lease."""

from datetime import datetime

from sqlalchemy import Connection, Double, bindparam, insert, select

from core.access.project_secrets import open_secrets
from core.access.vault import Vault
from core.artifacts.artifacts import model_source
from core.artifacts.checkpoints import sources_for
from core.datasets.sources import dataset_sources
from core.db.base import AnyRow
from core.db.clock import db_now
from core.db.tables import jobs, members, workers
from core.errors import NotFound
from core.ids import new_id
from core.jobs.fitting import fitting
from core.jobs.journal import Entry
from core.jobs.leases import lease_sha256, new_lease_token
from core.jobs.transitions import create_attempt, move_job
from core.models.references import version_source
from core.recipes import parse_spec
from core.recipes.script import ScriptSpec
from core.spec import JobModel, JobSpec, NamedModel
from core.states import JobState
from core.wire.worker import Claim, ClaimRequest, ModelSource

# A drain must wait for this claim or be seen by it, else the new attempt would never be told.
_WORKER = (
    select(workers.c.name, workers.c.accelerator, workers.c.isolation, workers.c.is_draining)
    .where(workers.c.id == bindparam("worker"))
    .with_for_update(read=True)
)
_CANDIDATE = fitting(
    jobs.c.id, jobs.c.project_id, jobs.c.spec, jobs.c.devices_per_node, jobs.c.num_attempts, jobs.c.seconds_used
).with_for_update(skip_locked=True, key_share=True)
_INSERT_MEMBER = insert(members).values(lease_until=db_now() + bindparam("ttl", type_=Double()))
_ONE_MORE = jobs.c.num_attempts + 1
_QUEUED = frozenset({JobState.QUEUED})


def claim(tx: Connection, *, request: ClaimRequest, ttl_seconds: float, now: datetime, vault: Vault | None = None) -> Claim | None:
    """A new attempt of the first job that fits, on the first of the offered devices; None when nothing fits.

    ``vault`` opens the secrets that a script names. A draining worker gets nothing. NotFound for a worker that never registered.
    """
    worker = tx.execute(_WORKER, {"worker": request.worker_id}).one_or_none()
    if worker is None:
        raise NotFound("there is no such worker: register first", param="worker_id")
    devices = tuple(dict.fromkeys(request.devices))
    if worker.is_draining or not devices:
        return None
    job = tx.execute(_CANDIDATE, {"num_devices": len(devices), "kind": worker.accelerator, "isolation": worker.isolation}).one_or_none()
    if job is None:
        return None
    granted = _grant(tx, job, request.worker_id, worker.name, devices=devices[: job.devices_per_node], ttl_seconds=ttl_seconds, now=now)
    if isinstance(granted.spec, ScriptSpec) and granted.spec.secrets:
        return granted.model_copy(update={"secrets": open_secrets(tx, vault, job.project_id, granted.spec.secrets)})
    return granted


def _grant(
    tx: Connection, job: AnyRow, worker_id: str, worker_name: str, *, devices: tuple[int, ...], ttl_seconds: float, now: datetime
) -> Claim:
    attempt_id, token, number = new_id("att"), new_lease_token(), job.num_attempts + 1
    data = {"attempt_id": attempt_id, "worker": worker_name, "devices": list(devices)}
    entry = Entry(type="attempt.claimed", message=f"attempt {number} was claimed by {worker_name}", attempt=number, data=data)
    move_job(tx, job.id, _QUEUED, JobState.RUNNING, now=now, entry=entry, changes={"num_attempts": _ONE_MORE, "reason": None})
    create_attempt(tx, {"id": attempt_id, "job_id": job.id, "number": number}, now=now)
    member = {"attempt_id": attempt_id, "node_rank": 0, "worker_id": worker_id, "devices": list(devices)}
    tx.execute(_INSERT_MEMBER, {**member, "lease_sha256": lease_sha256(token), "ttl": ttl_seconds})
    spec = parse_spec(job.spec)
    left = None if spec.timeout_seconds is None else max(spec.timeout_seconds - job.seconds_used, 0.0)
    return Claim(
        job_id=job.id,
        attempt_id=attempt_id,
        attempt=number,
        lease_token=token,
        lease_ttl_seconds=ttl_seconds,
        spec=spec,
        devices=devices,
        checkpoints=sources_for(tx, job.id) if number > 1 else (),
        base_model=_base_model(tx, job, spec),
        datasets=dataset_sources(tx, job.id),
        seconds_left=left,
    )


def _base_model(tx: Connection, job: AnyRow, spec: JobSpec) -> ModelSource | None:
    if isinstance(spec.base_model, JobModel):
        return model_source(tx, job.project_id, spec.base_model.job)
    return version_source(tx, job.id) if isinstance(spec.base_model, NamedModel) else None
