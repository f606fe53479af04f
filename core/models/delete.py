"""Deletes a version. Its number is not given again; bytes that nothing else refers to are pruned later."""

from datetime import datetime

from sqlalchemy import Connection, delete, select

from core.db.base import AnyRow
from core.db.model_tables import job_models, model_aliases, model_files, model_promotions, model_versions
from core.db.tables import jobs
from core.errors import Conflict, NotFound
from core.models.finding import VERSIONS, find_model, version_row
from core.models.history import Happening, record
from core.states import FINAL


def delete_version(tx: Connection, project_id: str, name: str, reference: int | str, *, key_id: str, now: datetime) -> None:
    """NotFound when it is not there; Conflict while an alias points to it, or a job or a promotion that has not ended needs it."""
    model = find_model(tx, project_id, name, locked=True)
    version = version_row(tx, model.id, reference)
    if version is None:
        raise NotFound(f"the model {name!r} has no version {reference!r}", param="version")
    # A submit that names this version waits for us here, or we for it.
    tx.execute(VERSIONS.where(model_versions.c.id == version.id).with_for_update(of=model_versions))
    _refuse_if_used(tx, version)
    tx.execute(delete(model_files).where(model_files.c.version_id == version.id))
    tx.execute(delete(model_versions).where(model_versions.c.id == version.id))
    message = f"version {version.number} was deleted"
    record(tx, model.id, Happening(type="version.deleted", message=message, key_id=key_id, version=version.number), now)


def _refuse_if_used(tx: Connection, version: AnyRow) -> None:
    number = version.number
    alias = tx.scalar(select(model_aliases.c.alias).where(model_aliases.c.version_id == version.id).limit(1))
    if alias is not None:
        raise Conflict(f"the alias {alias!r} points to version {number}; move or remove it first", param="version")
    living = select(jobs.c.id).join_from(job_models, jobs, jobs.c.id == job_models.c.job_id)
    job_id = tx.scalar(living.where(job_models.c.version_id == version.id, jobs.c.state.not_in(sorted(FINAL))).limit(1))
    if job_id is not None:
        raise Conflict(f"job {job_id} starts from version {number} and has not ended", param="version")
    pending = select(model_promotions.c.id).where(model_promotions.c.model_id == version.model_id, model_promotions.c.outcome.is_(None))
    waits = tx.scalar(pending.where((model_promotions.c.version == number) | (model_promotions.c.current_version == number)).limit(1))
    if waits is not None:
        raise Conflict(f"promotion {waits} compares version {number} and is pending", param="version")
