"""What specs say of models: which version a job starts from, and the name that its package shall get."""

from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, insert, select

from core.db.model_tables import job_bases, job_models, model_requests
from core.errors import InvalidInput, NotFound, Problem
from core.models.finding import find_model, version_row
from core.models.queries import manifest_files
from core.spec import JobModel, JobSpec, NamedModel
from core.wire.worker import ModelSource

Spec = TypeVar("Spec", bound=JobSpec)


@dataclass(frozen=True, slots=True)
class BaseVersion:
    """The version that a spec names as its base model."""

    id: str
    number: int


def find_base_version(tx: Connection, project_id: str, spec: JobSpec, *, locked: bool = True) -> BaseVersion | None:
    """None when ``base_model`` names no model of the store; InvalidInput when it names one that this project does not have.

    Locked, it cannot be deleted before this transaction has ended, so that a job's base model is there when it is claimed.
    """
    base = spec.base_model
    if not isinstance(base, NamedModel):
        return None
    try:
        model = find_model(tx, project_id, base.name)
    except NotFound:
        raise InvalidInput(problems=[Problem("/base_model/name", f"there is no model {base.name!r}", "not_found")]) from None
    version = version_row(tx, model.id, base.version, locked=locked)
    if version is None:
        message = f"the model {base.name!r} has no version {base.version!r}"
        raise InvalidInput(problems=[Problem("/base_model/version", message, "not_found")])
    return BaseVersion(version.id, version.number)


def settled(spec: Spec, base: BaseVersion | None) -> Spec:
    """The spec with the exact number in the place of an alias, which may point elsewhere tomorrow."""
    if base is None or not isinstance(spec.base_model, NamedModel):
        return spec
    return spec.model_copy(update={"base_model": NamedModel(name=spec.base_model.name, version=base.number)})


def note_models(tx: Connection, job_id: str, spec: JobSpec, base: BaseVersion | None) -> None:
    """Remembers, beside the job, what its spec has to do with models."""
    if base is not None:
        tx.execute(insert(job_models).values(job_id=job_id, version_id=base.id))
    if isinstance(spec.base_model, JobModel):
        tx.execute(insert(job_bases).values(job_id=job_id, base_job_id=spec.base_model.job))
    if spec.register_as is not None:
        tx.execute(insert(model_requests).values(job_id=job_id, name=spec.register_as))


def version_source(tx: Connection, job_id: str) -> ModelSource:
    """The files of the version that a job starts from; its deletion was refused while the job lived."""
    version_id = tx.scalars(select(job_models.c.version_id).where(job_models.c.job_id == job_id)).one()
    return ModelSource(files=manifest_files(tx, version_id))
