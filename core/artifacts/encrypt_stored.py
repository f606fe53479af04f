"""Encrypts what was stored before encryption was switched on."""

import logging
from collections.abc import Iterator
from contextlib import closing

from sqlalchemy import select

from core.artifacts.holders import holders
from core.artifacts.sealed_store import SealedStore
from core.db.engine import Database
from core.db.tables import blobs

log = logging.getLogger("trainyard.artifacts")


def encrypt_stored(db: Database, store: SealedStore) -> int:
    """Sends every plain object that somebody holds through the store once more; how many. It may be broken off and repeated.

    What it cannot encrypt it leaves where it is and tells of: an object whose bytes are not those of its digest any more.
    """
    num_encrypted = 0
    for sha256, size in _stored(db):
        if not store.plain.has(sha256):
            continue
        with db.read() as tx:
            owners = sorted(holders(tx, sha256))
        if owners and _encrypt(store, sha256, size, owners[0]):
            num_encrypted += 1
    return num_encrypted


def _encrypt(store: SealedStore, sha256: str, size: int, owner: str) -> bool:
    try:
        with closing(store.plain.read(sha256, 0, size)) as chunks:
            if store.put(chunks, owner=owner) == sha256:
                return True
    except FileNotFoundError:  # a server has sent it again or removed it meanwhile
        return False
    except EOFError:
        pass
    log.error("a stored object is damaged and stays as it is", extra={"event": "blob.damaged", "sha256": sha256})
    return False


def _stored(db: Database) -> Iterator[tuple[str, int]]:
    """Every object in the ledger. A key says nothing of where its bytes lie: the upload that asked for it may not have ended."""
    after = ""
    while True:
        with db.read() as tx:
            query = select(blobs.c.sha256, blobs.c.size).where(blobs.c.sha256 > after)
            rows = tx.execute(query.order_by(blobs.c.sha256).limit(500)).all()
        if not rows:
            return
        yield from ((row.sha256, row.size) for row in rows)
        after = rows[-1].sha256
