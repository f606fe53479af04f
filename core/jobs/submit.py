"""Takes a job into the ledger. When the transaction is committed, the job exists and will not be lost."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, text

from core.access.project_secrets import require_secrets
from core.artifacts.uploads import require_uploads
from core.datasets.resolve import note_reads, resolve_datasets
from core.db.tables import job_labels, jobs
from core.errors import InvalidInput, NotAvailable, Problem, TooManyQueued
from core.ids import new_id
from core.jobs.journal import Entry
from core.jobs.transitions import create_job
from core.manifest import ManifestFile
from core.models.references import find_base_version, note_models, settled
from core.recipes.script import ScriptSpec, UploadedCode
from core.spec import JobModel, JobSpec
from core.states import JobState

# One row beyond the limit is all that is asked for; the literal lets both databases use a partial index.
_IS_FULL = select(jobs.c.id).where(jobs.c.project_id == bindparam("project"), text("state = 'queued'")).offset(bindparam("limit")).limit(1)


def check_available(spec: JobSpec) -> None:
    """NotAvailable, with every place, when the spec asks for something that this version does not do yet."""
    problems = []
    if spec.resources.nodes > 1:
        problems.append(Problem("/resources/nodes", "jobs on more than one node are not available yet", "not_available"))
    if isinstance(spec, ScriptSpec) and spec.isolation == "strict":
        problems.append(Problem("/isolation", "no worker of this version offers strict isolation", "not_available"))
    if problems:
        raise NotAvailable(problems=problems)


def submit(tx: Connection, *, project_id: str, spec: JobSpec, now: datetime, max_queued: int) -> str:
    """Stores the job, queued, and answers its id.

    NotAvailable as ``check_available``; InvalidInput when ``base_model`` names no finished job or model of this project, a
    dataset is named that it has not or that is not ready, or ``code`` is an archive that it has not uploaded; TooManyQueued
    when the project has ``max_queued`` queued jobs.
    """
    check_available(spec)
    check_base_model(tx, project_id, spec)
    check_script(tx, project_id, spec)
    spec, reads = resolve_datasets(tx, project_id, spec, lock=True)
    base = find_base_version(tx, project_id, spec)
    spec = settled(spec, base)
    if tx.scalar(_IS_FULL, {"project": project_id, "limit": max_queued - 1}) is not None:
        raise TooManyQueued
    job_id = new_id("job")
    row = {
        "id": job_id,
        "project_id": project_id,
        "name": spec.name,
        "recipe": spec.recipe,
        "spec": spec.model_dump_json(),
        "labels": dict(spec.labels),
        "priority": spec.priority,
        "nodes": spec.resources.nodes,
        "devices_per_node": spec.resources.devices_per_node,
        "accelerator": spec.resources.accelerator,
    }
    data = {"recipe": spec.recipe, **({"datasets": {channel: asdict(read) for channel, read in reads.items()}} if reads else {})}
    create_job(tx, row, now=now, entry=Entry(type="job.submitted", message="the job was submitted", data=data))
    note_reads(tx, job_id, reads)
    if spec.labels:
        tx.execute(insert(job_labels), [{"job_id": job_id, "key": key, "value": value} for key, value in spec.labels.items()])
    note_models(tx, job_id, spec, base)
    return job_id


def check_base_model(tx: Connection, project_id: str, spec: JobSpec) -> None:
    """InvalidInput unless the job that ``base_model`` names has succeeded; another project's looks like none."""
    if not isinstance(spec.base_model, JobModel):
        return
    state = tx.scalar(select(jobs.c.state).where(jobs.c.id == spec.base_model.job, jobs.c.project_id == project_id))
    if state is None:
        raise InvalidInput(problems=[Problem("/base_model/job", "there is no such job", "not_found")])
    if state != JobState.SUCCEEDED:
        raise InvalidInput(problems=[Problem("/base_model/job", f"the job is {state}; only a succeeded one has a model", "not_succeeded")])


def check_script(tx: Connection, project_id: str, spec: JobSpec) -> None:
    """InvalidInput unless this project has uploaded the archive that ``code`` names, and has every secret."""
    if isinstance(spec, ScriptSpec) and isinstance(spec.code, UploadedCode):
        archive = ManifestFile(path="code", size=spec.code.size, sha256=spec.code.sha256)
        require_uploads(tx, project_id, [archive], pointer="/code")
    if isinstance(spec, ScriptSpec) and spec.secrets:
        require_secrets(tx, project_id, spec.secrets)
