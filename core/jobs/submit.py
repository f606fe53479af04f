"""Takes a job into the ledger. When the transaction is committed, the job exists and will not be lost."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import Connection, bindparam, insert, select, text

from core.access.project_secrets import require_secrets
from core.artifacts.uploads import require_uploads
from core.datasets.resolve import Reads, note_reads, resolve_datasets
from core.db.tables import job_labels, jobs, workers
from core.db.upload_tables import job_code
from core.errors import InvalidInput, NotAvailable, Problem, TooManyQueued
from core.ids import new_id
from core.jobs.journal import Entry
from core.jobs.transitions import create_job
from core.manifest import ManifestFile
from core.models.references import BaseVersion, find_base_version, note_models, settled
from core.recipes.script import ScriptSpec, UploadedCode, isolation_of
from core.retention.removals import find_removal, told
from core.spec import JobModel, JobSpec
from core.states import JobState
from core.wire.projects import Kind

Spec = TypeVar("Spec", bound=JobSpec)

# One row beyond the limit is all that is asked for; the literal lets both databases use a partial index.
_IS_FULL = select(jobs.c.id).where(jobs.c.project_id == bindparam("project"), text("state = 'queued'")).offset(bindparam("limit")).limit(1)


def check_available(spec: JobSpec) -> None:
    """NotAvailable, with every place, when the spec asks for something that this version does not do yet."""
    problems = []
    if spec.resources.nodes > 1:
        problems.append(Problem("/resources/nodes", "jobs on more than one node are not available yet", "not_available"))
    if problems:
        raise NotAvailable(problems=problems)


def check_isolation(tx: Connection, spec: JobSpec) -> None:
    """NotAvailable when no worker that ever registered offers what the spec demands: the job would wait for ever."""
    wanted = isolation_of(spec)
    if wanted != "any" and tx.scalar(select(workers.c.id).where(workers.c.isolation == wanted).limit(1)) is None:
        message = f"no worker offers {wanted} isolation; GET /v1/workers shows what each lacks"
        raise NotAvailable(problems=[Problem("/isolation", message, "not_available")])


def submit(tx: Connection, *, project_id: str, spec: JobSpec, now: datetime, max_queued: int) -> str:
    """Stores the job, queued, and answers its id.

    NotAvailable as ``check_available``; InvalidInput when ``base_model`` names no finished job or model of this project, a
    dataset is named that it has not or that is not ready, or ``code`` is an archive that it has not uploaded; TooManyQueued
    when the project has ``max_queued`` queued jobs.
    """
    meant = what_is_meant(tx, project_id, spec, lock=True)
    spec, reads = meant.spec, meant.reads
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
        "isolation": isolation_of(spec),
    }
    data = {"recipe": spec.recipe, **({"datasets": {channel: asdict(read) for channel, read in reads.items()}} if reads else {})}
    create_job(tx, row, now=now, entry=Entry(type="job.submitted", message="the job was submitted", data=data))
    note_reads(tx, job_id, reads)
    if spec.labels:
        tx.execute(insert(job_labels), [{"job_id": job_id, "key": key, "value": value} for key, value in spec.labels.items()])
    note_models(tx, job_id, spec, meant.base)
    if isinstance(spec, ScriptSpec) and isinstance(spec.code, UploadedCode):
        tx.execute(insert(job_code).values(job_id=job_id, sha256=spec.code.sha256))
    return job_id


@dataclass(frozen=True, slots=True)
class Meant(Generic[Spec]):
    """A spec with exact versions in the place of names and aliases, and the versions that it reads and starts from."""

    spec: Spec
    reads: dict[str, Reads]
    base: BaseVersion | None


def what_is_meant(tx: Connection, project_id: str, spec: Spec, *, lock: bool) -> Meant[Spec]:
    """Raises as ``submit`` for what this version does not offer and what the project does not have. With ``lock`` it stays there
    until the transaction ends."""
    check_available(spec)
    check_isolation(tx, spec)
    check_base_model(tx, project_id, spec, lock=lock)
    check_script(tx, project_id, spec)
    resolved, reads = resolve_datasets(tx, project_id, spec, lock=lock)
    base = find_base_version(tx, project_id, resolved, locked=lock)
    return Meant(settled(resolved, base), reads, base)


def check_base_model(tx: Connection, project_id: str, spec: JobSpec, *, lock: bool) -> None:
    """InvalidInput unless the job that ``base_model`` names has succeeded and still has what it left; another project's looks like none.

    With ``lock`` nothing of it is removed before the transaction ends.
    """
    if not isinstance(spec.base_model, JobModel):
        return
    query = select(jobs.c.state).where(jobs.c.id == spec.base_model.job, jobs.c.project_id == project_id)
    state = tx.scalar(query.with_for_update(read=True) if lock else query)
    if state is None:
        raise InvalidInput(problems=[Problem("/base_model/job", "there is no such job", "not_found")])
    if state != JobState.SUCCEEDED:
        raise InvalidInput(problems=[Problem("/base_model/job", f"the job is {state}; only a succeeded one has a model", "not_succeeded")])
    removal = find_removal(tx, project_id, Kind.ARTIFACTS, spec.base_model.job)
    if removal is not None:
        raise InvalidInput(problems=[Problem("/base_model/job", told(removal), "removed")])


def check_script(tx: Connection, project_id: str, spec: JobSpec) -> None:
    """InvalidInput unless this project has uploaded the archive that ``code`` names, and has every secret."""
    if isinstance(spec, ScriptSpec) and isinstance(spec.code, UploadedCode):
        archive = ManifestFile(path="code", size=spec.code.size, sha256=spec.code.sha256)
        require_uploads(tx, project_id, [archive], pointer="/code")
    if isinstance(spec, ScriptSpec) and spec.secrets:
        require_secrets(tx, project_id, spec.secrets)
