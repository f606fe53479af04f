"""Encrypts what was stored before encryption was switched on."""

from collections.abc import Iterator
from contextlib import closing

from sqlalchemy import exists, select

from core.artifacts.holders import holders
from core.artifacts.sealed_store import SealedStore
from core.db.engine import Database
from core.db.key_tables import blob_keys
from core.db.tables import blobs


def encrypt_stored(db: Database, store: SealedStore) -> int:
    """Sends every plain object that somebody holds through the store once more; how many. It may be broken off and repeated."""
    num_encrypted = 0
    for sha256, size in _without_key(db):
        with db.read() as tx:
            owners = sorted(holders(tx, sha256))
        if owners and store.plain.has(sha256):
            with closing(store.plain.read(sha256, 0, size)) as chunks:
                store.put(chunks, owner=owners[0])
            num_encrypted += 1
    return num_encrypted


def _without_key(db: Database) -> Iterator[tuple[str, int]]:
    after = ""
    while True:
        with db.read() as tx:
            plain = select(blobs.c.sha256, blobs.c.size).where(
                blobs.c.sha256 > after, ~exists().where(blob_keys.c.sha256 == blobs.c.sha256)
            )
            rows = tx.execute(plain.order_by(blobs.c.sha256).limit(500)).all()
        if not rows:
            return
        yield from ((row.sha256, row.size) for row in rows)
        after = rows[-1].sha256
