"""Datasets and versions by what users call them. Everything is asked for within a project: another's looks like none."""

from typing import Literal

from sqlalchemy import Connection, Select, and_, bindparam, or_, select

from core.db.base import AnyRow
from core.db.dataset_tables import dataset_versions, datasets
from core.errors import NotFound
from core.retention.removals import refuse_removed
from core.states import DatasetState
from core.wire.projects import Kind

LATEST: Literal["latest"] = "latest"
WantedVersion = int | Literal["latest"]

_MINE = (datasets.c.project_id == bindparam("project"), datasets.c.name == bindparam("name"))
_DATASET = select(datasets.c.id, datasets.c.name, datasets.c.task, datasets.c.created_at).where(*_MINE)
_LOCKED = _DATASET.with_for_update()
VERSION_COLUMNS = (
    dataset_versions.c.id,
    datasets.c.name.label("dataset"),
    dataset_versions.c.number,
    dataset_versions.c.state,
    dataset_versions.c.message,
    dataset_versions.c.job_id,
    dataset_versions.c.num_files,
    dataset_versions.c.num_bytes,
    dataset_versions.c.digest,
    dataset_versions.c.lineage,
    dataset_versions.c.created_at,
)
VERSIONS = select(*VERSION_COLUMNS).join_from(datasets, dataset_versions, dataset_versions.c.dataset_id == datasets.c.id)

# The same as ``is_coming``.
_IS_COMING = or_(
    dataset_versions.c.state == DatasetState.VALIDATING,
    and_(dataset_versions.c.state == DatasetState.UPLOADING, dataset_versions.c.job_id.is_not(None)),
)


def find_dataset(tx: Connection, project_id: str, name: str) -> AnyRow:
    """NotFound unless the project has a dataset of this name."""
    return _one(tx.execute(_DATASET, {"project": project_id, "name": name}).one_or_none(), name)


def lock_dataset(tx: Connection, project_id: str, name: str) -> AnyRow:
    """The same, for one who adds or removes versions: one at a time."""
    return _one(tx.execute(_LOCKED, {"project": project_id, "name": name}).one_or_none(), name)


def version_row(tx: Connection, project_id: str, name: str, version: WantedVersion, *, shared_lock: bool = False) -> AnyRow | None:
    """One version, ``latest`` being the newest that is ready; None when there is none.

    With ``shared_lock`` it cannot be deleted before the transaction ends.
    """
    query = VERSIONS.where(*_MINE)
    if version == LATEST:
        query = query.where(dataset_versions.c.state == DatasetState.READY).order_by(dataset_versions.c.number.desc()).limit(1)
    else:
        query = query.where(dataset_versions.c.number == version)
    if shared_lock:
        query = query.with_for_update(read=True, of=dataset_versions)
    return tx.execute(query, {"project": project_id, "name": name}).one_or_none()


def readable_version(tx: Connection, project_id: str, name: str, version: WantedVersion, *, shared_lock: bool = False) -> AnyRow | None:
    """The version that a job means: while none is ready, ``latest`` is the newest that is on its way."""
    row = version_row(tx, project_id, name, version, shared_lock=shared_lock)
    if row is not None or version != LATEST:
        return row
    query = VERSIONS.where(*_MINE, _IS_COMING).order_by(dataset_versions.c.number.desc()).limit(1)
    if shared_lock:
        query = query.with_for_update(read=True, of=dataset_versions)
    return tx.execute(query, {"project": project_id, "name": name}).one_or_none()


def is_coming(row: AnyRow) -> bool:
    """Whether a job is at work on the version, so that it will be ready or invalid. ``row`` has VERSION_COLUMNS."""
    return row.state == DatasetState.VALIDATING or (row.state == DatasetState.UPLOADING and row.job_id is not None)


def find_version(tx: Connection, project_id: str, name: str, version: WantedVersion) -> AnyRow:
    """NotFound when there is no such version; Removed when there was, and retention removed it."""
    row = version_row(tx, project_id, name, version)
    if row is None:
        made_at = find_dataset(tx, project_id, name).created_at  # an older dataset of this name is not meant
        refuse_removed(tx, project_id, Kind.DATASETS, f"{name}@{version}", since=made_at)
        raise NotFound(f"{name} has no version that is ready" if version == LATEST else f"{name} has no version {version}")
    return row


def open_version(tx: Connection, dataset_id: str) -> AnyRow | None:
    """The version that takes uploads now. Lock the dataset before."""
    return tx.execute(_open(), {"dataset": dataset_id}).one_or_none()


def _open() -> Select[tuple[str, int, int, int]]:
    return select(dataset_versions.c.id, dataset_versions.c.number, dataset_versions.c.num_files, dataset_versions.c.num_bytes).where(
        dataset_versions.c.dataset_id == bindparam("dataset"),
        dataset_versions.c.state == DatasetState.UPLOADING,
        dataset_versions.c.job_id.is_(None),
    )


def _one(row: AnyRow | None, name: str) -> AnyRow:
    if row is None:
        raise NotFound(f"there is no dataset {name!r}")
    return row
