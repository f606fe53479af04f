"""Commits the version that takes uploads."""

from datetime import datetime

from sqlalchemy import Connection

from core.datasets.closing import Place, close_version
from core.datasets.finding import lock_dataset, open_version
from core.datasets.queries import files_of, get_version
from core.errors import Conflict
from core.wire.datasets import DatasetVersion


def commit_version(tx: Connection, project_id: str, name: str, *, now: datetime, max_queued: int) -> DatasetVersion:
    """Conflict when no version is open; InvalidInput when its paths collide."""
    dataset = lock_dataset(tx, project_id, name)
    version = open_version(tx, dataset.id)
    if version is None:
        raise Conflict(f"no version of {name} takes files now; the first file that is uploaded opens one")
    place = Place(project_id=project_id, name=name, task=dataset.task, version_id=version.id, number=version.number)
    close_version(tx, place, files_of(tx, version.id), now=now, max_queued=max_queued)
    return get_version(tx, project_id, name, version.number)
