"""Frees the bytes that nothing refers to any more, a day after they came or were last used."""

from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import ColumnElement, delete, exists, select

from core.artifacts.store import ByteStore
from core.db.dataset_tables import dataset_files
from core.db.engine import Database
from core.db.key_tables import blob_keys
from core.db.model_tables import model_files
from core.db.tables import artifacts, blobs, checkpoint_blobs, jobs, log_streams
from core.db.upload_tables import job_code, uploads
from core.states import FINAL

GRACE = timedelta(hours=24)  # between an upload and the manifest that names it may lie a long outage
_BATCH = 500


def collect_orphans(db: Database, store: ByteStore, *, now: datetime, grace: timedelta = GRACE) -> int:
    """Removes unreferenced blobs, objects without a row and forgotten uploads, all older than ``grace``; returns how many objects."""
    before = now - grace
    num_removed = 0
    while batch := _forget(db, before):
        num_removed += sum(store.delete(sha256, older_than=before.timestamp()) for sha256 in batch)
    _forget_keys(db, before)
    stored = store.sweep(older_than=before.timestamp())
    while batch := list(islice(stored, _BATCH)):
        num_removed += sum(store.delete(sha256, older_than=before.timestamp()) for sha256 in _unknown(db, batch))
    return num_removed


def _unknown(db: Database, objects: list[str]) -> set[str]:
    """Objects without a row: their server died between storing them and saying so."""
    with db.read() as tx:
        return set(objects).difference(tx.scalars(select(blobs.c.sha256).where(blobs.c.sha256.in_(objects))))


def _forget_keys(db: Database, before: datetime) -> None:
    """Keys of nothing. A young one may belong to an upload that is on its way."""
    of_nothing = (blob_keys.c.created_at < before, ~exists().where(blobs.c.sha256 == blob_keys.c.sha256))
    with db.read() as tx:
        is_there = tx.scalar(select(blob_keys.c.sha256).where(*of_nothing).limit(1)) is not None
    if is_there:
        with db.begin() as tx:
            tx.execute(delete(blob_keys).where(*of_nothing))


def _forget(db: Database, before: datetime) -> list[str]:
    """Deletes rows of blobs that are old and unused. The bytes go after the commit: a crash between leaves an object without a row."""
    unused: list[ColumnElement[bool]] = [
        blobs.c.created_at < before,
        ~exists().where(checkpoint_blobs.c.sha256 == blobs.c.sha256),
        ~exists().where(artifacts.c.sha256 == blobs.c.sha256),
        ~exists().where(model_files.c.sha256 == blobs.c.sha256),
        ~exists().where(dataset_files.c.sha256 == blobs.c.sha256),
        ~exists().where(log_streams.c.blob_sha256 == blobs.c.sha256),
        ~exists().where(job_code.c.sha256 == blobs.c.sha256, job_code.c.job_id == jobs.c.id, jobs.c.state.not_in(sorted(FINAL))),
    ]
    with db.read() as tx:
        candidates = tx.scalars(select(blobs.c.sha256).where(*unused).limit(_BATCH)).all()
    if not candidates:
        return []
    with db.begin() as tx:
        removed = list(tx.scalars(delete(blobs).where(blobs.c.sha256.in_(candidates), *unused).returning(blobs.c.sha256)))
        tx.execute(delete(uploads).where(uploads.c.sha256.in_(removed)))  # who wants to use them sends them again
    return removed
