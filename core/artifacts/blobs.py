"""Rows that say which objects the byte store holds whole, and who may read them."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, text, union_all

from core.db.tables import artifacts, blobs, checkpoint_blobs, checkpoints, jobs
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
    """Size of a blob that the attempt may download: of a checkpoint of its job, of the package it starts from, or the code
    that its spec names. Else NotFound."""
    of_checkpoint = (
        select(checkpoint_blobs.c.sha256)
        .join(checkpoints, checkpoints.c.id == checkpoint_blobs.c.checkpoint_id)
        .where(checkpoints.c.job_id == fence.job_id, checkpoint_blobs.c.sha256 == sha256)
    )
    spec = _spec(tx, fence)
    of_package = (
        select(artifacts.c.sha256)
        .join(jobs, jobs.c.id == artifacts.c.job_id)
        .where(artifacts.c.sha256 == sha256, jobs.c.id == _named(spec, "base_model", "job"), jobs.c.project_id == fence.project_id)
    )
    # Proven when the job was submitted.
    is_code = sha256 == _named(spec, "code", "sha256")
    readable = blobs.c.sha256 == sha256 if is_code else blobs.c.sha256.in_(union_all(of_checkpoint, of_package))
    size: int | None = tx.scalar(select(blobs.c.size).where(readable))
    if size is None:
        raise NotFound
    return size


def _spec(tx: Connection, fence: Fence) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(tx.scalars(select(jobs.c.spec).where(jobs.c.id == fence.job_id)).one())
    return spec


def _named(spec: dict[str, Any], section: str, key: str) -> str | None:
    """What a reference of the attempt's own spec names: the job whose package it starts from, the archive of its code."""
    value = (spec.get(section) or {}).get(key)
    return value if isinstance(value, str) else None
