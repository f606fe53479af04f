"""Fails queued jobs whose data will never be ready. Called where a version turns out invalid, and now and then: no job waits for ever."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, exists, or_, select, text

from core.datasets.validation import VALIDATION
from core.db.base import AnyRow
from core.db.dataset_tables import dataset_versions, datasets, job_datasets
from core.db.tables import artifacts, jobs
from core.jobs.awaited import MAY_BE_MENDED
from core.jobs.journal import Entry
from core.jobs.transitions import move_job
from core.profile import REPORT
from core.states import DatasetState, JobState, Reason
from core.wire.jobs import Failure

AT_MOST = 500  # in one transaction: the next one takes the rest

_HAS_REPORT = exists().where(artifacts.c.job_id == dataset_versions.c.job_id, artifacts.c.path == REPORT)
# A row that is locked is being cancelled, paused or failed by somebody else: the next call sees what became of it.
_DOOMED = (
    select(
        jobs.c.id,
        job_datasets.c.channel,
        datasets.c.name,
        dataset_versions.c.number,
        dataset_versions.c.message,
        _HAS_REPORT.label("has_report"),
    )
    .join_from(jobs, job_datasets, job_datasets.c.job_id == jobs.c.id)
    .outerjoin(dataset_versions, dataset_versions.c.id == job_datasets.c.version_id)
    .outerjoin(datasets, datasets.c.id == dataset_versions.c.dataset_id)
    .where(
        text("jobs.state = 'queued'"),  # the literal lets both databases use the partial index
        jobs.c.recipe != VALIDATION,
        or_(dataset_versions.c.id.is_(None), and_(dataset_versions.c.state == DatasetState.INVALID, ~MAY_BE_MENDED)),
    )
    .limit(AT_MOST)  # in no order: that of ids would be looked up among all jobs that there ever were
    .with_for_update(of=jobs, skip_locked=True, key_share=True)
)


def fail_waiting(tx: Connection, now: datetime, *, of_versions: Collection[str] | None = None, job_id: str | None = None) -> list[str]:
    """Fails the queued jobs that read an invalid version, or one that is gone; their ids. Called again, it finds none.

    With ``of_versions`` or ``job_id`` it looks at the readers of these versions, or at that job alone.
    """
    if of_versions is not None and not of_versions:
        return []
    query = _DOOMED
    if of_versions is not None:
        query = query.where(job_datasets.c.version_id.in_(of_versions))
    if job_id is not None:
        query = query.where(jobs.c.id == job_id)
    doomed: dict[str, AnyRow] = {}
    for row in sorted(tx.execute(query), key=lambda row: (row.id, row.channel)):
        doomed.setdefault(row.id, row)  # the first dataset that cannot be used is reason enough
    for row in doomed.values():
        _fail(tx, row, now)
    return list(doomed)


def _fail(tx: Connection, row: AnyRow, now: datetime) -> None:
    failure = Failure(reason=Reason.INVALID_DATA, message=_message(row))
    changes = {"reason": Reason.INVALID_DATA, "failure": failure.model_dump(mode="json"), "finished_at": now}
    entry = Entry(type="job.failed", message=f"the job failed before it ran: {failure.message}", data={"reason": Reason.INVALID_DATA})
    move_job(tx, row.id, frozenset({JobState.QUEUED}), JobState.FAILED, now=now, entry=entry, changes=changes)


def _message(row: AnyRow) -> str:
    if row.name is None:
        return f"the dataset of its channel {row.channel!r} was deleted before the job could start"
    why = f": {row.message}" if row.message else ""
    report = f" (report: /v1/datasets/{row.name}/versions/{row.number}/report)" if row.has_report else ""
    return f"the dataset {row.name}@{row.number} is invalid{why}{report}"
