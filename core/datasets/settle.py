"""What the end of a job does to the version that waits for it. Called where attempts end, and now and then: nothing waits for ever."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text

from core.artifacts.artifacts import all_artifacts
from core.datasets.closing import Place, close_version
from core.datasets.transitions import move_version
from core.datasets.tree import insert_files
from core.db.base import AnyRow
from core.db.dataset_tables import dataset_versions, datasets
from core.db.tables import jobs
from core.errors import InvalidInput
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


def settle_datasets(tx: Connection, now: datetime, *, job_id: str | None = None) -> int:
    """Settles every version whose job has ended, or those of one job; how many there were."""
    query = _WAITING if job_id is None else _WAITING.where(jobs.c.id == job_id)
    waiting = tx.execute(query).all()
    for row in waiting:
        if row.state == DatasetState.VALIDATING:
            _judge(tx, row)
        else:
            _take_over(tx, row, now)
    return len(waiting)


def _judge(tx: Connection, row: AnyRow) -> None:
    metrics = row.metrics or {}
    if row.job_state != JobState.SUCCEEDED:
        _invalidate(tx, row, _failure(row, "validation"))
    elif metrics.get("valid") == 1:
        move_version(tx, row.id, DatasetState.READY, {"message": None})
    else:
        num_findings = int(metrics.get("num_findings", 0))
        what = f"{num_findings} finding{'' if num_findings == 1 else 's'}" if num_findings else "not valid"
        _invalidate(tx, row, f"{what}, see the profile")


def _take_over(tx: Connection, row: AnyRow, now: datetime) -> None:
    """The files that a preparation has left become those of its version, which is validated like any other."""
    if row.job_state != JobState.SUCCEEDED:
        _invalidate(tx, row, _failure(row, "preparation"))
        return
    files = [
        ManifestFile(path=item.path.removeprefix(PREPARED), size=item.size, sha256=item.sha256)
        for item in all_artifacts(tx, row.project_id, row.job_id)
        if item.path.startswith(PREPARED)
    ]
    if not files:
        _invalidate(tx, row, "the preparation left no files")
        return
    place = Place(project_id=row.project_id, name=row.name, task=row.task, version_id=row.id, number=row.number)
    try:
        close_version(tx, place, files, now=now, max_queued=NO_LIMIT)
    except InvalidInput as error:
        _invalidate(tx, row, f"what the preparation left cannot be a dataset: {error.message}")
    else:
        insert_files(tx, row.id, files)


def _failure(row: AnyRow, what: str) -> str:
    if row.job_state == JobState.CANCELLED:
        return f"its {what} was cancelled"
    failure: dict[str, Any] = row.failure or {}
    return f"its {what} failed: {failure.get('message') or failure.get('reason') or 'no reason is known'}"


def _invalidate(tx: Connection, row: AnyRow, message: str) -> None:
    move_version(tx, row.id, DatasetState.INVALID, {"message": message[:MAX_MESSAGE]})
