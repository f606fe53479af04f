"""Makes a dataset: a name, so far without versions."""

from datetime import datetime

from sqlalchemy import Connection

from core.datasets.queries import get_dataset
from core.datasets.validation import check_task
from core.db.conflict import insert_or
from core.db.dataset_tables import datasets
from core.errors import Conflict
from core.ids import new_id
from core.wire.datasets import CreateDatasetRequest, Dataset


def create_dataset(tx: Connection, project_id: str, request: CreateDatasetRequest, now: datetime) -> Dataset:
    """InvalidInput for a task that no recipe has; Conflict when the project has a dataset of this name."""
    if request.task is not None:
        check_task(request.name, request.task)
    row = {"id": new_id("ds"), "project_id": project_id, "name": request.name, "task": request.task, "created_at": now}
    if tx.execute(insert_or(tx, datasets).on_conflict_do_nothing(), row).rowcount != 1:
        raise Conflict(f"there is a dataset {request.name!r} already", param="/name")
    return get_dataset(tx, project_id, request.name)
