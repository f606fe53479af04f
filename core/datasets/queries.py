"""Reads of datasets, versions and files."""

from sqlalchemy import Connection, select

from core.datasets.finding import VERSIONS, WantedVersion, find_dataset, find_version
from core.db.base import AnyRow
from core.db.dataset_tables import dataset_files, dataset_versions, datasets
from core.errors import NotFound
from core.manifest import ManifestFile
from core.states import SETTLED, DatasetState
from core.wire.base import Page, page_of
from core.wire.datasets import Dataset, DatasetFile, DatasetVersion

SHOWN_VERSIONS = 100


def list_datasets(tx: Connection, project_id: str, *, after: str | None = None, limit: int = 20) -> Page[Dataset]:
    """The project's datasets, newest first, without their versions."""
    columns = (datasets.c.id, datasets.c.name, datasets.c.task, datasets.c.created_at)
    query = select(*columns).where(datasets.c.project_id == project_id).order_by(datasets.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(datasets.c.id < after)
    rows = tx.execute(query).all()
    newest = select(dataset_versions.c.dataset_id, dataset_versions.c.number).where(
        dataset_versions.c.dataset_id.in_([row.id for row in rows]), dataset_versions.c.state == DatasetState.READY
    )
    latest = {row.dataset_id: row.number for row in tx.execute(newest.order_by(dataset_versions.c.number))}
    return page_of([_dataset(row, latest.get(row.id), []) for row in rows], limit)


def get_dataset(tx: Connection, project_id: str, name: str) -> Dataset:
    """With its newest versions; NotFound for another project's."""
    row = find_dataset(tx, project_id, name)
    of_this = VERSIONS.where(datasets.c.id == row.id).order_by(dataset_versions.c.number.desc())
    versions = [version_model(found) for found in tx.execute(of_this.limit(SHOWN_VERSIONS))]
    ready = of_this.where(dataset_versions.c.state == DatasetState.READY).limit(1)
    latest = tx.execute(ready).one_or_none()
    return _dataset(row, latest.number if latest else None, versions)


def list_versions(tx: Connection, project_id: str, name: str, *, after: str | None = None, limit: int = 20) -> Page[DatasetVersion]:
    """Newest first."""
    dataset_id = find_dataset(tx, project_id, name).id
    query = VERSIONS.where(datasets.c.id == dataset_id).order_by(dataset_versions.c.number.desc()).limit(limit + 1)
    if after is not None:
        cursor = dataset_versions.alias()
        number = select(cursor.c.number).where(cursor.c.id == after, cursor.c.dataset_id == dataset_id).scalar_subquery()
        query = query.where(dataset_versions.c.number < number)
    return page_of([version_model(row) for row in tx.execute(query)], limit)


def get_version(tx: Connection, project_id: str, name: str, version: WantedVersion) -> DatasetVersion:
    return version_model(find_version(tx, project_id, name, version))


def list_files(
    tx: Connection, project_id: str, name: str, version: WantedVersion, *, after: str | None = None, limit: int = 100
) -> Page[DatasetFile]:
    """In path order; ``after`` is the last path of the page before."""
    found = find_version(tx, project_id, name, version)
    query = select(dataset_files).where(dataset_files.c.version_id == found.id).order_by(dataset_files.c.path).limit(limit + 1)
    if after is not None:
        query = query.where(dataset_files.c.path > after)
    files = [_file(found, row) for row in tx.execute(query)]
    shown = files[:limit]
    first, last = (shown[0].path, shown[-1].path) if shown else (None, None)
    return Page(data=shown, has_more=len(files) > limit, first_id=first, last_id=last)


def get_file(tx: Connection, project_id: str, name: str, version: WantedVersion, path: str) -> DatasetFile:
    """The file with exactly this path. One that no version may hold is NotFound like any other; none touches the disk."""
    found = find_version(tx, project_id, name, version)
    if "\0" in path:
        raise NotFound
    row = tx.execute(select(dataset_files).where(dataset_files.c.version_id == found.id, dataset_files.c.path == path)).one_or_none()
    if row is None:
        raise NotFound(f"{name}@{found.number} has no such file")
    return _file(found, row)


def files_of(tx: Connection, version_id: str) -> tuple[ManifestFile, ...]:
    """All of them, in path order, without the checks that they passed when they were stored."""
    rows = tx.execute(select(dataset_files).where(dataset_files.c.version_id == version_id).order_by(dataset_files.c.path))
    return tuple(ManifestFile.model_construct(path=row.path, size=row.size, sha256=row.sha256) for row in rows)


def version_model(row: AnyRow) -> DatasetVersion:
    """``row`` has VERSION_COLUMNS."""
    return DatasetVersion.model_validate({**row._mapping, "is_terminal": row.state in SETTLED})


def _dataset(row: AnyRow, latest: int | None, versions: list[DatasetVersion]) -> Dataset:
    return Dataset(id=row.id, name=row.name, task=row.task, latest=latest, versions=versions, created_at=row.created_at)


def _file(version: AnyRow, row: AnyRow) -> DatasetFile:
    return DatasetFile(dataset=version.dataset, version=version.number, path=row.path, size=row.size, sha256=row.sha256)
