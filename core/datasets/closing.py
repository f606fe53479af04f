"""Closes a version: its files are final from here on, and a job validates them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, update

from core.datasets.transitions import move_version
from core.datasets.tree import check_tree
from core.datasets.validation import validation_spec
from core.db.dataset_tables import dataset_versions
from core.jobs.submit import submit
from core.manifest import ManifestFile, content_key
from core.states import DatasetState


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which version of which dataset."""

    project_id: str
    name: str
    task: str | None
    version_id: str
    number: int


def close_version(tx: Connection, place: Place, files: Sequence[ManifestFile], *, now: datetime, max_queued: int) -> None:
    """The rows of the files are there. InvalidInput, before anything is written, when their paths collide; else as ``submit``."""
    check_tree(files)
    facts = {"num_files": len(files), "num_bytes": sum(file.size for file in files), "digest": content_key(files)}
    move_version(tx, place.version_id, DatasetState.VALIDATING, {**facts, "message": None})
    spec = validation_spec(place.name, place.number, place.task)
    job_id = submit(tx, project_id=place.project_id, spec=spec, now=now, max_queued=max_queued)
    tx.execute(update(dataset_versions).where(dataset_versions.c.id == place.version_id).values(job_id=job_id))
