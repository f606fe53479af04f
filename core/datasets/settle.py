"""What the end of a job does to the version that waits for it, and to the jobs that wait for that version.

Called where attempts end, and now and then: nothing waits for ever.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text, update

from core.artifacts.artifacts import all_artifacts
from core.datasets.closing import Place, close_version
from core.datasets.finding import version_row
from core.datasets.transitions import move_version
from core.datasets.tree import insert_files
from core.db.base import AnyRow
from core.db.dataset_tables import dataset_versions, datasets
from core.db.tables import jobs
from core.errors import InvalidInput
from core.jobs.fail_waiting import fail_waiting
from core.manifest import ManifestFile
from core.states import FINAL, DatasetState, JobState

PREPARED = "data/"  # where the job of a preparation leaves the files
MAX_MESSAGE = 2000
NO_LIMIT = 1_000_000_000  # a full queue must not undo the end of an attempt

_WAITING = (
    select(
        dataset_versions.c.id,
        dataset_versions.c.number,
        dataset_versions.c.state,
        datasets.c.name,
        datasets.c.task,
        datasets.c.project_id,
        dataset_versions.c.lineage,
        jobs.c.id.label("job_id"),
        jobs.c.state.label("job_state"),
        jobs.c.metrics,
        jobs.c.failure,
    )
    .join_from(dataset_versions, jobs, dataset_versions.c.job_id == jobs.c.id)
    .join(datasets, dataset_versions.c.dataset_id == datasets.c.id)
    # The literal lets both databases use the partial index.
    .where(text("dataset_versions.state IN ('uploading', 'validating')"), jobs.c.state.in_(sorted(FINAL)))
    .with_for_update(of=dataset_versions, skip_locked=True)
)


@dataclass(slots=True)
class Settled:
    num_versions: int = 0
    failed_jobs: list[str] = field(default_factory=list)  # which waited for data that turned out invalid


def settle_datasets(tx: Connection, now: datetime, *, job_id: str | None = None) -> Settled:
    """Settles every version whose job has ended, or those of one job, and fails the queued jobs that read what is invalid.

    A preparation that fails so makes its own version invalid, and so on until nobody is left who waits in vain.
    """
    settled = Settled()
    query = _WAITING if job_id is None else _WAITING.where(jobs.c.id == job_id)
    while True:
        waiting = tx.execute(query).all()
        invalid = [row.id for row in waiting if not _settle(tx, row, now)]
        settled.num_versions += len(waiting)
        of_versions = None if job_id is None and not settled.failed_jobs else invalid  # the first look of all is at everyone
        failed = fail_waiting(tx, now, of_versions=of_versions)
        if not failed:
            return settled
        settled.failed_jobs += failed
        query = _WAITING.where(jobs.c.id.in_(failed))


def _settle(tx: Connection, row: AnyRow, now: datetime) -> bool:
    """False when the version is invalid now."""
    trouble = _judge(tx, row) if row.state == DatasetState.VALIDATING else _take_over(tx, row, now)
    if trouble is not None:
        move_version(tx, row.id, DatasetState.INVALID, {"message": trouble[:MAX_MESSAGE]})
    return trouble is None


def _judge(tx: Connection, row: AnyRow) -> str | None:
    """What is wrong with the version; None when it is ready now."""
    metrics = row.metrics or {}
    if row.job_state != JobState.SUCCEEDED:
        return _failure(row, "validation")
    if metrics.get("valid") == 1:
        move_version(tx, row.id, DatasetState.READY, {"message": None})
        return None
    num_findings = int(metrics.get("num_findings", 0))
    what = f"{num_findings} finding{'' if num_findings == 1 else 's'}" if num_findings else "not valid"
    return f"{what}, see the profile"


def _take_over(tx: Connection, row: AnyRow, now: datetime) -> str | None:
    """The files that a preparation has left become those of its version, which is validated like any other; or why not."""
    if row.job_state != JobState.SUCCEEDED:
        return _failure(row, "preparation")
    files = [
        ManifestFile(path=item.path.removeprefix(PREPARED), size=item.size, sha256=item.sha256)
        for item in all_artifacts(tx, row.project_id, row.job_id)
        if item.path.startswith(PREPARED)
    ]
    if not files:
        return "the preparation left no files"
    place = Place(project_id=row.project_id, name=row.name, task=row.task, version_id=row.id, number=row.number)
    try:
        close_version(tx, place, files, now=now, max_queued=NO_LIMIT)
    except InvalidInput as error:
        return f"what the preparation left cannot be a dataset: {error.message}"
    insert_files(tx, row.id, files)
    _complete_lineage(tx, row)
    return None


def _complete_lineage(tx: Connection, row: AnyRow) -> None:
    """The source may have had no files yet when the preparation was asked for."""
    if not row.lineage or row.lineage["digest"] is not None:
        return
    source = version_row(tx, row.project_id, row.lineage["dataset"], row.lineage["version"])
    if source is not None:
        lineage = {**row.lineage, "digest": source.digest}
        tx.execute(update(dataset_versions).where(dataset_versions.c.id == row.id).values(lineage=lineage))


def _failure(row: AnyRow, what: str) -> str:
    if row.job_state == JobState.CANCELLED:
        return f"its {what} was cancelled"
    failure: dict[str, Any] = row.failure or {}
    return f"its {what} failed: {failure.get('message') or failure.get('reason') or 'no reason is known'}"
