"""The datasets that queued jobs wait for: a job is claimed only when every version that it reads is ready."""

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from core.datasets.resolve import PREPARATION
from core.datasets.validation import VALIDATION
from core.db.base import AnyRow
from core.db.dataset_tables import dataset_versions, datasets, job_datasets
from core.db.tables import jobs
from core.states import DatasetState

_IS_UNREADY = dataset_versions.c.state != DatasetState.READY
# Its steps may mend what is wrong with the rows of an invalid version.
_IS_SPOILT = and_(dataset_versions.c.state == DatasetState.INVALID, dataset_versions.c.num_files > 0)
MAY_BE_MENDED = and_(jobs.c.recipe == PREPARATION, _IS_SPOILT)
_HOLDS_BACK = or_(dataset_versions.c.id.is_(None), and_(_IS_UNREADY, ~MAY_BE_MENDED))
# A version that is gone or invalid holds its job back too, until ``fail_waiting`` ends that. A validation reads what is not ready yet.
DATA_IS_READY: ColumnElement[bool] = or_(
    ~exists()
    .where(job_datasets.c.job_id == jobs.c.id, _HOLDS_BACK)
    .select_from(job_datasets.outerjoin(dataset_versions, dataset_versions.c.id == job_datasets.c.version_id)),
    jobs.c.recipe == VALIDATION,
)

_ABOUT = (datasets.c.name, dataset_versions.c.number, dataset_versions.c.state, dataset_versions.c.job_id)
_UNREADY = (
    select(*_ABOUT)
    .join_from(dataset_versions, datasets, datasets.c.id == dataset_versions.c.dataset_id)
    .where(_IS_UNREADY)
    .order_by(datasets.c.name, dataset_versions.c.number)
    .distinct()
)
_OF_JOBS = (
    select(job_datasets.c.job_id.label("reader"), *_ABOUT)
    .join_from(job_datasets, dataset_versions, dataset_versions.c.id == job_datasets.c.version_id)
    .join(datasets, datasets.c.id == dataset_versions.c.dataset_id)
    .join(jobs, jobs.c.id == job_datasets.c.job_id)
    .where(_IS_UNREADY, ~MAY_BE_MENDED, jobs.c.recipe != VALIDATION)
    .order_by(datasets.c.name, dataset_versions.c.number)
    .distinct()
)


def awaited_by(tx: Connection, job_ids: Collection[str]) -> Mapping[str, str]:
    """Which versions each of these jobs waits for, in words; only of those that wait for one."""
    found: dict[str, list[AnyRow]] = {}
    for row in tx.execute(_OF_JOBS.where(job_datasets.c.job_id.in_(job_ids))) if job_ids else ():
        found.setdefault(row.reader, []).append(row)
    return {job_id: _words(rows) for job_id, rows in found.items()}


def awaited_of(tx: Connection, recipe: str, version_ids: Collection[str]) -> str | None:
    """Which of these versions a job of this recipe that reads them would wait for, in words."""
    query = _UNREADY.where(dataset_versions.c.id.in_(version_ids))
    if recipe == PREPARATION:
        query = query.where(~_IS_SPOILT)
    rows = tx.execute(query).all() if version_ids else []
    return _words(rows) if rows else None


def _words(rows: Collection[AnyRow]) -> str:
    return " and ".join(f"the dataset {row.name}@{row.number}, which {_doing(row)}" for row in rows)


def _doing(row: AnyRow) -> str:
    if row.state == DatasetState.INVALID:
        return "is invalid"
    return f"{row.job_id} {'prepares' if row.state == DatasetState.UPLOADING else 'validates'}"
