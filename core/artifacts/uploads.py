"""Bytes that a project brings: each object is sent once by every project that wants to use it, and stored once for all."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text

from core.artifacts.blobs import note_blob
from core.db.tables import blobs
from core.db.upload_tables import uploads
from core.errors import InvalidInput, Problem
from core.manifest import ManifestFile

_NOTE = text(
    "INSERT INTO uploads (project_id, sha256, size, created_at) VALUES (:project, :sha256, :size, :now) "
    "ON CONFLICT (project_id, sha256) DO UPDATE SET created_at = excluded.created_at"
).bindparams(bindparam("now", type_=uploads.c.created_at.type))
_AT_ONCE = 500  # a statement has a limited number of parameters


def note_upload(tx: Connection, project_id: str, sha256: str, size: int, now: datetime) -> None:
    """Says that the store holds the object and that this project has sent it. Said again, both are young again."""
    note_blob(tx, sha256, size, now)
    tx.execute(_NOTE, {"project": project_id, "sha256": sha256, "size": size, "now": now})


def uploaded_size(tx: Connection, project_id: str, sha256: str) -> int | None:
    """Bytes of an object that this project has sent whole; None for any other, whoever else has sent it."""
    return _sizes(tx, project_id, [sha256]).get(sha256)


def require_uploads(tx: Connection, project_id: str, files: Iterable[ManifestFile], *, pointer: str = "/files") -> None:
    """InvalidInput, with every file's place below ``pointer``, unless this project has sent each in the size that is named."""
    listed = list(files)
    digests = sorted({file.sha256 for file in listed})
    held: dict[str, int] = {}
    for start in range(0, len(digests), _AT_ONCE):
        held |= _sizes(tx, project_id, digests[start : start + _AT_ONCE])
    problems = []
    for number, file in enumerate(listed):
        size = held.get(file.sha256)
        if size is None:
            problems.append(Problem(f"{pointer}/{number}", f"{file.path}: its bytes have not been uploaded", "not_uploaded"))
        elif size != file.size:
            problems.append(Problem(f"{pointer}/{number}/size", f"{file.path}: the uploaded object has {size} bytes"))
    if problems:
        raise InvalidInput(problems=problems)


def _sizes(tx: Connection, project_id: str, digests: list[str]) -> dict[str, int]:
    held = select(uploads.c.sha256, uploads.c.size).join(blobs, blobs.c.sha256 == uploads.c.sha256)
    rows = tx.execute(held.where(uploads.c.project_id == project_id, uploads.c.sha256.in_(digests)))
    return {row.sha256: row.size for row in rows}
