"""Makes versions: the package of a succeeded job, or files that a project has brought. The bytes are there already."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from core.artifacts.artifacts import all_artifacts
from core.db.base import AnyRow
from core.db.conflict import insert_or
from core.db.model_tables import model_files, model_versions, models
from core.db.tables import jobs
from core.errors import InvalidInput, Problem
from core.ids import new_id
from core.manifest import ManifestFile, content_key
from core.models.digests import data_digest, spec_digest
from core.models.finding import VERSIONS, find_model
from core.models.history import Happening, record
from core.models.queries import version_model
from core.recipes import parse_spec
from core.retention.removals import find_removal, told
from core.spec import JobModel, JobSpec, NamedModel
from core.states import JobState
from core.wire.models import ModelVersion
from core.wire.projects import Kind

_AT_ONCE = 500  # rows of one statement


@dataclass(frozen=True, slots=True)
class Registered:
    """The version, and whether it was made just now."""

    version: ModelVersion
    is_new: bool


def register_job(
    tx: Connection, project_id: str, name: str, job_id: str, *, key_id: str | None, now: datetime, description: str | None = None
) -> Registered:
    """The job's package as a version of the model ``name``, which is made if need be. The same job again is the same version.

    InvalidInput unless the job is the project's, has succeeded and has left files that are still there.
    """
    columns = (jobs.c.id, jobs.c.state, jobs.c.spec, jobs.c.recipe, jobs.c.metrics)
    job = tx.execute(select(*columns).where(jobs.c.id == job_id, jobs.c.project_id == project_id)).one_or_none()
    if job is None:
        raise _refusal("there is no such job", "not_found")
    if job.state != JobState.SUCCEEDED:
        raise _refusal(f"the job is {job.state}; only a succeeded one has a model", "not_succeeded")
    removal = find_removal(tx, project_id, Kind.ARTIFACTS, job_id)
    if removal is not None:
        raise _refusal(told(removal), "removed")
    files = tuple(ManifestFile(path=item.path, size=item.size, sha256=item.sha256) for item in all_artifacts(tx, project_id, job_id))
    if not files:
        raise _refusal("the job has left no files, so there is no model", "no_files")
    model = _ensure_model(tx, project_id, name, description, key_id=key_id, now=now)
    known = tx.execute(VERSIONS.where(model_versions.c.model_id == model.id, model_versions.c.job_id == job_id)).one_or_none()
    if known is not None:
        return Registered(version_model(tx, known), is_new=False)
    return _add(tx, model, files, _facts(tx, project_id, job), key_id=key_id, now=now)


def register_files(
    tx: Connection, project_id: str, name: str, files: Sequence[ManifestFile], *, key_id: str | None, now: datetime
) -> Registered:
    """Uploaded files as a version. What they are is checked before, see ``upload``; the same files again are the same version."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    model = _ensure_model(tx, project_id, name, None, key_id=key_id, now=now)
    same = (model_versions.c.model_id == model.id, model_versions.c.digest == content_key(ordered), model_versions.c.job_id.is_(None))
    known = tx.execute(VERSIONS.where(*same)).first()
    if known is not None:
        return Registered(version_model(tx, known), is_new=False)
    return _add(tx, model, ordered, {"metrics": {}}, key_id=key_id, now=now)


def _refusal(message: str, code: str) -> InvalidInput:
    return InvalidInput(problems=[Problem("/job", message, code)])


def _ensure_model(tx: Connection, project_id: str, name: str, description: str | None, *, key_id: str | None, now: datetime) -> AnyRow:
    """The model's row, locked."""
    row = {"id": new_id("mdl"), "project_id": project_id, "name": name, "description": description or "", "created_at": now}
    made = tx.execute(insert_or(tx, models).on_conflict_do_nothing(index_elements=["project_id", "name"]), row).rowcount == 1
    model = find_model(tx, project_id, name, locked=True)
    if made:
        record(tx, model.id, Happening(type="model.created", message=f"the model {name} was made", key_id=key_id), now)
    elif description is not None:
        tx.execute(update(models).where(models.c.id == model.id).values(description=description))
    return model


def _facts(tx: Connection, project_id: str, job: AnyRow) -> dict[str, Any]:
    """What a version keeps of its job, so that it can be judged without it."""
    spec = parse_spec(job.spec)
    return {
        "job_id": job.id,
        "recipe": job.recipe,
        "parent": _parent(tx, project_id, spec),
        "metrics": job.metrics or {},
        "data_digest": data_digest(spec),
        "spec_digest": spec_digest(json.loads(job.spec)),
    }


def _parent(tx: Connection, project_id: str, spec: JobSpec) -> dict[str, Any] | None:
    base = spec.base_model
    if isinstance(base, NamedModel):
        return {"name": base.name, "version": base.version}
    if not isinstance(base, JobModel):
        return None
    of_job = VERSIONS.where(model_versions.c.job_id == base.job, models.c.project_id == project_id).order_by(model_versions.c.id)
    version = tx.execute(of_job.limit(1)).one_or_none()
    return {"job_id": base.job, **({} if version is None else {"name": version.name, "version": version.number})}


def _add(
    tx: Connection, model: AnyRow, files: tuple[ManifestFile, ...], facts: dict[str, Any], *, key_id: str | None, now: datetime
) -> Registered:
    rise = update(models).where(models.c.id == model.id).values(last_number=models.c.last_number + 1).returning(models.c.last_number)
    number = tx.execute(rise).scalar_one()
    version_id, num_bytes = new_id("mdv"), sum(file.size for file in files)
    about = {"id": version_id, "model_id": model.id, "number": number, "digest": content_key(files), "created_at": now}
    tx.execute(insert(model_versions).values(**about, **facts, num_files=len(files), num_bytes=num_bytes))
    rows = [
        {"version_id": version_id, "position": position, "path": file.path, "size": file.size, "sha256": file.sha256}
        for position, file in enumerate(files)
    ]
    for start in range(0, len(rows), _AT_ONCE):
        tx.execute(insert(model_files), rows[start : start + _AT_ONCE])
    source = f"job {facts['job_id']}" if "job_id" in facts else "uploaded files"
    message = f"version {number} was registered from {source}"
    record(tx, model.id, Happening(type="version.registered", message=message, key_id=key_id, version=number), now)
    row = tx.execute(VERSIONS.where(model_versions.c.id == version_id)).one()
    return Registered(version_model(tx, row), is_new=True)
