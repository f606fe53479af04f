"""Deletes versions and whole datasets. The bytes go with the orphans, unless something else holds them."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from core.datasets.finding import find_version, lock_dataset
from core.db.dataset_tables import dataset_files, dataset_versions, datasets, job_datasets
from core.db.tables import jobs
from core.errors import Conflict
from core.states import FINAL


def remove_version(tx: Connection, project_id: str, name: str, number: int) -> None:
    """Conflict, naming the job, while one that has not ended reads it or makes it. NotFound as in ``find_version``."""
    lock_dataset(tx, project_id, name)
    _remove(tx, [find_version(tx, project_id, name, number).id])


def remove_dataset(tx: Connection, project_id: str, name: str) -> None:
    """The same for all of its versions."""
    dataset = lock_dataset(tx, project_id, name)
    _remove(tx, tx.scalars(select(dataset_versions.c.id).where(dataset_versions.c.dataset_id == dataset.id)).all())
    tx.execute(delete(datasets).where(datasets.c.id == dataset.id))


def _remove(tx: Connection, version_ids: Sequence[str]) -> None:
    # A job that is being submitted holds its versions by a shared lock: after this one it is seen below.
    for version_id in version_ids:
        tx.execute(select(dataset_versions.c.id).where(dataset_versions.c.id == version_id).with_for_update()).all()
        _refuse_if_needed(tx, version_id)
        tx.execute(delete(dataset_files).where(dataset_files.c.version_id == version_id))
        tx.execute(delete(dataset_versions).where(dataset_versions.c.id == version_id))


def _refuse_if_needed(tx: Connection, version_id: str) -> None:
    reads = select(jobs.c.id, jobs.c.state).join(job_datasets, job_datasets.c.job_id == jobs.c.id)
    makes = select(jobs.c.id, jobs.c.state).join(dataset_versions, dataset_versions.c.job_id == jobs.c.id)
    needing = reads.where(job_datasets.c.version_id == version_id).union(makes.where(dataset_versions.c.id == version_id)).subquery()
    row = tx.execute(select(needing).where(needing.c.state.not_in(sorted(FINAL))).order_by(needing.c.id).limit(1)).one_or_none()
    if row is not None:
        raise Conflict(f"{row.id} needs this version and is {row.state}; cancel it, or wait for its end", param=row.id)
