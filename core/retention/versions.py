"""Versions of datasets that nothing refers to any more, found when their time is over, and removed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, exists, func, select

from core.datasets.finding import lock_dataset
from core.datasets.remove import remove_version
from core.db.dataset_tables import dataset_versions, datasets, job_datasets
from core.db.model_tables import model_versions
from core.db.tables import jobs
from core.errors import NotFound
from core.retention.policies import get_retention
from core.retention.removals import note_removal
from core.states import FINAL, SETTLED, DatasetState
from core.wire.projects import Kind

_NEWER = dataset_versions.alias("newer")


@dataclass(frozen=True, slots=True)
class DueVersion:
    id: str
    name: str
    number: int
    num_bytes: int


def due_versions(tx: Connection, project_id: str, before: datetime, limit: int, *, version_id: str | None = None) -> list[DueVersion]:
    """Those that were made, validated and last read before ``before``, the oldest first; or the one that is named, if it is due."""
    columns = (dataset_versions.c.id, datasets.c.name, dataset_versions.c.number, dataset_versions.c.num_bytes)
    query = select(*columns).join_from(dataset_versions, datasets, dataset_versions.c.dataset_id == datasets.c.id)
    query = query.where(datasets.c.project_id == project_id, *_unused_since(before))
    if version_id is not None:
        query = query.where(dataset_versions.c.id == version_id)
    return [DueVersion(*row) for row in tx.execute(query.order_by(dataset_versions.c.id).limit(limit))]


def remove_due(tx: Connection, project_id: str, version: DueVersion, now: datetime) -> bool:
    """Removes a version as its project could; False when it is not due any more."""
    days = get_retention(tx, project_id).days(Kind.DATASETS)
    try:
        lock_dataset(tx, project_id, version.name)
    except NotFound:
        return False
    # A job that is being submitted holds its versions by a shared lock: after this one it is seen below.
    tx.execute(select(dataset_versions.c.id).where(dataset_versions.c.id == version.id).with_for_update())
    if days is None or not due_versions(tx, project_id, now - timedelta(days=days), 1, version_id=version.id):
        return False
    remove_version(tx, project_id, version.name, version.number)
    subject = f"{version.name}@{version.number}"
    note_removal(tx, project_id, Kind.DATASETS, subject, days=days, num_bytes=version.num_bytes, now=now)
    return True


def _unused_since(before: datetime) -> tuple[ColumnElement[bool], ...]:
    lately = jobs.c.state.not_in(sorted(FINAL)) | (jobs.c.finished_at >= before)
    newest_ready = (
        select(func.max(_NEWER.c.number))
        .where(_NEWER.c.dataset_id == dataset_versions.c.dataset_id, _NEWER.c.state == DatasetState.READY)
        .scalar_subquery()
    )
    reads = job_datasets.c.version_id == dataset_versions.c.id
    return (
        dataset_versions.c.state.in_(sorted(SETTLED)),
        dataset_versions.c.created_at < before,
        dataset_versions.c.number != func.coalesce(newest_ready, 0),  # ``latest`` refers to it
        ~exists().where(jobs.c.id == dataset_versions.c.job_id, lately),
        ~exists().where(reads, jobs.c.id == job_datasets.c.job_id, lately),
        ~exists().where(reads, model_versions.c.job_id == job_datasets.c.job_id),  # a registered model was made of it
    )
