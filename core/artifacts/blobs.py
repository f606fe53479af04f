"""Rows that say which objects the byte store holds whole, and who may read them."""

import json
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text, union_all

from core.db.dataset_tables import dataset_files, job_datasets
from core.db.model_tables import job_models, model_files
from core.db.tables import artifacts, blobs, checkpoint_blobs, checkpoints, jobs
from core.db.upload_tables import job_code
from core.errors import BlobMissing, NotFound
from core.jobs.leases import Fence
from core.manifest import ManifestFile

_NOTE = text(
    "INSERT INTO blobs (sha256, size, created_at) VALUES (:sha256, :size, :now) "
    "ON CONFLICT (sha256) DO UPDATE SET created_at = excluded.created_at"
).bindparams(bindparam("now", type_=blobs.c.created_at.type))


def note_blob(tx: Connection, sha256: str, size: int, now: datetime) -> None:
    """Says that the store holds the object. Saying it again makes it young: orphans are judged by their age."""
    tx.execute(_NOTE, {"sha256": sha256, "size": size, "now": now})


def blob_size(tx: Connection, sha256: str) -> int | None:
    return tx.scalar(select(blobs.c.size).where(blobs.c.sha256 == sha256))


def require_blobs(tx: Connection, files: Iterable[ManifestFile]) -> None:
    """BlobMissing, with every digest, unless the store holds each file in the size that the manifest says."""
    wanted = {file.sha256: file.size for file in files}
    held: dict[str, int] = {}
    digests = list(wanted)
    for start in range(0, len(digests), 500):  # a statement has a limited number of parameters
        rows = tx.execute(select(blobs.c.sha256, blobs.c.size).where(blobs.c.sha256.in_(digests[start : start + 500])))
        held.update({row.sha256: row.size for row in rows})
    missing = [sha256 for sha256, size in wanted.items() if held.get(sha256) != size]
    if missing:
        raise BlobMissing(missing)


def readable_size(tx: Connection, fence: Fence, sha256: str) -> int:
    """Size of a blob that the attempt may download: of its job's checkpoints, of what it starts from, of a dataset, or the code that
    its spec names. Else NotFound."""
    of_checkpoint = (
        select(checkpoint_blobs.c.sha256)
        .join(checkpoints, checkpoints.c.id == checkpoint_blobs.c.checkpoint_id)
        .where(checkpoints.c.job_id == fence.job_id, checkpoint_blobs.c.sha256 == sha256)
    )
    of_package = (
        select(artifacts.c.sha256)
        .join(jobs, jobs.c.id == artifacts.c.job_id)
        .where(artifacts.c.sha256 == sha256, jobs.c.id == _base_model(tx, fence), jobs.c.project_id == fence.project_id)
    )
    of_version = (
        select(model_files.c.sha256)
        .join(job_models, job_models.c.version_id == model_files.c.version_id)
        .where(job_models.c.job_id == fence.job_id, model_files.c.sha256 == sha256)
    )
    of_dataset = (
        select(dataset_files.c.sha256)
        .join(job_datasets, job_datasets.c.version_id == dataset_files.c.version_id)
        .where(job_datasets.c.job_id == fence.job_id, dataset_files.c.sha256 == sha256)
    )
    of_code = select(job_code.c.sha256).where(job_code.c.job_id == fence.job_id, job_code.c.sha256 == sha256)
    readable = union_all(of_checkpoint, of_package, of_version, of_dataset, of_code)
    size: int | None = tx.scalar(select(blobs.c.size).where(blobs.c.sha256.in_(readable)))
    if size is None:
        raise NotFound
    return size


def _base_model(tx: Connection, fence: Fence) -> str | None:
    """The job whose package the attempt's own job starts from."""
    spec = json.loads(tx.scalars(select(jobs.c.spec).where(jobs.c.id == fence.job_id)).one())
    job_id = (spec.get("base_model") or {}).get("job")
    return job_id if isinstance(job_id, str) else None
