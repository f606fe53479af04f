"""Artifacts: the files that an attempt hands over, each a name for an object of the byte store."""

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from core.artifacts.blobs import require_blobs
from core.artifacts.checkpoints import check_paths
from core.db.tables import artifacts, jobs
from core.errors import NotFound
from core.ids import new_id
from core.jobs.journal import record
from core.jobs.leases import Fence
from core.manifest import ManifestFile, check_relative_path
from core.retention.removals import refuse_removed
from core.wire.base import Page, page_of
from core.wire.jobs import Artifact
from core.wire.projects import Kind
from core.wire.worker import ArtifactsRequest, ModelSource

MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "application/yaml",
    ".zip": "application/zip",
}

_COLUMNS = (
    artifacts.c.id,
    artifacts.c.job_id,
    artifacts.c.attempt,
    artifacts.c.path,
    artifacts.c.size,
    artifacts.c.sha256,
    artifacts.c.created_at,
)


def commit_artifacts(tx: Connection, fence: Fence, request: ArtifactsRequest, now: datetime) -> list[Artifact]:
    """Makes the files of a manifest visible, all or none; BlobMissing while bytes are not in the store.

    A second manifest of the same attempt adds to the first and replaces equal paths. Other attempts keep theirs; what the
    job shows are those of the attempt that committed last.
    """
    check_paths(request.manifest)
    require_blobs(tx, request.manifest.files)
    known = {(row.path, row.size, row.sha256) for row in tx.execute(select(*_COLUMNS).where(artifacts.c.attempt_id == fence.attempt_id))}
    fresh = [file for file in request.manifest.files if (file.path, file.size, file.sha256) not in known]
    if fresh:
        _replace(tx, fence, fresh, now)
        num_bytes = sum(file.size for file in fresh)
        data: dict[str, JsonValue] = {"num_files": len(fresh), "num_bytes": num_bytes, "paths": [file.path for file in fresh[:20]]}
        record(
            tx, fence.job_id, "artifacts.stored", f"{len(fresh)} files, {num_bytes} bytes stored", at=now, attempt=fence.number, data=data
        )
    stored = select(*_COLUMNS).where(artifacts.c.attempt_id == fence.attempt_id).order_by(artifacts.c.path)
    return [_artifact(row) for row in tx.execute(stored)]


def _replace(tx: Connection, fence: Fence, files: list[ManifestFile], now: datetime) -> None:
    paths = [file.path for file in files]
    for start in range(0, len(paths), 500):  # a statement has a limited number of parameters
        batch = paths[start : start + 500]
        tx.execute(delete(artifacts).where(artifacts.c.attempt_id == fence.attempt_id, artifacts.c.path.in_(batch)))
    # Lists go from the highest id down: the last path gets the lowest.
    ids = sorted(new_id("art") for _ in files)
    by_path = sorted(files, key=lambda file: file.path, reverse=True)
    of_attempt = {"job_id": fence.job_id, "attempt_id": fence.attempt_id, "attempt": fence.number, "created_at": now}
    rows = [
        {**of_attempt, "id": artifact_id, "path": file.path, "size": file.size, "sha256": file.sha256}
        for artifact_id, file in zip(ids, by_path, strict=True)
    ]
    tx.execute(insert(artifacts), rows)


def list_artifacts(
    tx: Connection, project_id: str, job_id: str, *, after: str | None = None, limit: int = 50, attempt: int | None = None
) -> Page[Artifact]:
    """Newest first, within one manifest by path; of ``attempt``, or of the attempt that committed last. Removed when retention
    removed them; so for the others here."""
    query = select(*_COLUMNS).where(_of_attempt(tx, project_id, job_id, attempt)).order_by(artifacts.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(artifacts.c.id < after)
    page = page_of([_artifact(row) for row in tx.execute(query)], limit)
    if not page.data and after is None:
        refuse_removed(tx, project_id, Kind.ARTIFACTS, job_id)
    return page


def all_artifacts(tx: Connection, project_id: str, job_id: str, *, attempt: int | None = None) -> list[Artifact]:
    """The same in path order, whole: the members of an archive."""
    query = select(*_COLUMNS).where(_of_attempt(tx, project_id, job_id, attempt)).order_by(artifacts.c.path)
    found = [_artifact(row) for row in tx.execute(query)]
    if not found:
        refuse_removed(tx, project_id, Kind.ARTIFACTS, job_id)
    return found


def get_artifact(tx: Connection, project_id: str, job_id: str, path: str, *, attempt: int | None = None) -> Artifact:
    """The artifact with exactly this path. A path that no manifest may hold is NotFound like any other; none touches the disk."""
    try:
        check_relative_path(path)
        path.encode()
    except ValueError:  # lone surrogates included
        raise NotFound from None
    row = tx.execute(select(*_COLUMNS).where(_of_attempt(tx, project_id, job_id, attempt), artifacts.c.path == path)).one_or_none()
    if row is None:
        refuse_removed(tx, project_id, Kind.ARTIFACTS, job_id)
        raise NotFound
    return _artifact(row)


def model_source(tx: Connection, project_id: str, job_id: str) -> ModelSource:
    """The package of a job as the base model of another one of its project."""
    files = tuple(ManifestFile(path=item.path, size=item.size, sha256=item.sha256) for item in all_artifacts(tx, project_id, job_id))
    return ModelSource(job_id=job_id, files=files)


def _of_attempt(tx: Connection, project_id: str, job_id: str, attempt: int | None) -> ColumnElement[bool]:
    if tx.scalar(select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.project_id == project_id)) is None:
        raise NotFound
    # Only the newest attempt has a lease, so the highest number is the one that committed last.
    last = select(func.max(artifacts.c.attempt)).where(artifacts.c.job_id == job_id).scalar_subquery()
    return (artifacts.c.job_id == job_id) & (artifacts.c.attempt == (last if attempt is None else attempt))


def _artifact(row: Any) -> Artifact:
    suffix = PurePosixPath(row.path).suffix.lower()
    return Artifact.model_validate({**row._mapping, "media_type": MEDIA_TYPES.get(suffix, "application/octet-stream")})
