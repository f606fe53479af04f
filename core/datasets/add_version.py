"""Adds a whole version at once, from files whose bytes the store holds."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select, update

from core.artifacts.blobs import require_blobs
from core.datasets.closing import Place, close_version
from core.datasets.finding import lock_dataset
from core.datasets.queries import get_version
from core.datasets.transitions import create_version
from core.datasets.tree import check_tree, insert_files
from core.db.dataset_tables import dataset_versions
from core.db.tables import blobs
from core.manifest import ManifestFile, content_key
from core.states import DatasetState
from core.wire.datasets import DatasetVersion

_BATCH = 500


def add_version(
    tx: Connection, project_id: str, name: str, files: Sequence[ManifestFile], *, now: datetime, max_queued: int
) -> tuple[DatasetVersion, bool]:
    """The version, and whether it is new: when the newest one has exactly these files and is not invalid, that one is answered.

    The caller has made sure that the project may use these bytes. InvalidInput when paths collide, BlobMissing when bytes are gone.
    """
    dataset = lock_dataset(tx, project_id, name)
    check_tree(files)
    same = _same_as_newest(tx, dataset.id, content_key(files))
    if same is not None:
        return get_version(tx, project_id, name, same), False
    _make_young(tx, files, now)
    require_blobs(tx, files)
    version_id = create_version(tx, dataset.id, now=now)
    number = tx.scalars(select(dataset_versions.c.number).where(dataset_versions.c.id == version_id)).one()
    insert_files(tx, version_id, files)
    place = Place(project_id=project_id, name=name, task=dataset.task, version_id=version_id, number=number)
    close_version(tx, place, files, now=now, max_queued=max_queued)
    return get_version(tx, project_id, name, number), True


def _same_as_newest(tx: Connection, dataset_id: str, digest: str) -> int | None:
    columns = (dataset_versions.c.number, dataset_versions.c.digest)
    closed = (DatasetState.VALIDATING, DatasetState.READY)
    newest = select(*columns).where(dataset_versions.c.dataset_id == dataset_id, dataset_versions.c.state.in_(closed))
    row = tx.execute(newest.order_by(dataset_versions.c.number.desc()).limit(1)).one_or_none()
    return row.number if row is not None and row.digest == digest else None


def _make_young(tx: Connection, files: Sequence[ManifestFile], now: datetime) -> None:
    """Orphans are judged by their age: from here until the commit nobody takes these for one."""
    digests = sorted({file.sha256 for file in files})
    for start in range(0, len(digests), _BATCH):  # a statement has a limited number of parameters
        tx.execute(update(blobs).where(blobs.c.sha256.in_(digests[start : start + _BATCH])).values(created_at=now))
