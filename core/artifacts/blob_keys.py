"""The keys of encrypted objects: one per digest, sealed once under the key of every project that has sent the bytes.

One object for all who have sent it, and yet what one project alone has becomes unreadable with that project's key.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, select, text

from core.access.project_keys import ProjectKeys
from core.access.vault import CannotOpen, new_key
from core.artifacts.holders import holders, project_of
from core.clock import Clock
from core.db.engine import Database
from core.db.key_tables import blob_keys
from core.errors import BytesDamaged, WrongMasterKey

YOUNG = timedelta(hours=1)  # a key that was asked for within this time need not be written again
_REMEMBERED = 1024  # opened keys, so that a download need not ask the ledger
_SEALED = select(blob_keys.c.project_id, blob_keys.c.sealed, blob_keys.c.created_at).where(blob_keys.c.sha256 == bindparam("sha256"))
_PUT = text(
    "INSERT INTO blob_keys (sha256, project_id, sealed, created_at) VALUES (:sha256, :project, :sealed, :now) "
    "ON CONFLICT (sha256, project_id) DO UPDATE SET created_at = excluded.created_at"
).bindparams(bindparam("now", type_=blob_keys.c.created_at.type))


class BlobKeys:
    """Finds and makes keys. Its calls open transactions of their own, so none may be open around them."""

    def __init__(self, db: Database, projects: ProjectKeys, clock: Clock) -> None:
        self._db = db
        self._projects = projects
        self._clock = clock
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, sha256: str, *, anew: bool = False) -> bytes:
        """The key of a stored object; with ``anew`` as the ledger has it now. BytesDamaged when there is none."""
        with self._lock:
            key = None if anew else self._known.get(sha256)
        if key is None:
            with self._db.read() as tx:
                key = self._open_any(tx, sha256)
            if key is None:
                raise BytesDamaged("the key of this object is gone: its project was erased")
            self._remember(sha256, key)
        return key

    def for_upload(self, owner: str, sha256: str) -> bytes:
        """The key under which ``owner``, a project or an attempt, may store these bytes; afterwards its project can open them.

        NotFound for an owner that there is not.
        """
        now = self._clock.now()
        with self._db.read() as tx:
            project_id = project_of(tx, owner)
            held = {row.project_id: row for row in tx.execute(_SEALED, {"sha256": sha256})}
            mine = held.get(project_id)
            if mine is not None and mine.created_at > now - YOUNG:
                return self._projects.of(tx, project_id).open(mine.sealed, _place(sha256))
        with self._db.begin() as tx:
            key = self._make(tx, project_id, sha256, now)
        self._remember(sha256, key)
        return key

    def share(self, tx: Connection, project_id: str, sha256: str) -> None:
        """Lets the project open an object that the store has already. Of one that lies plain there is nothing to share."""
        _lock_digest(tx, sha256)
        key = self._open_any(tx, sha256)
        if key is not None:
            self._put(tx, [project_id], sha256, key, self._clock.now())

    def _make(self, tx: Connection, project_id: str, sha256: str, now: datetime) -> bytes:
        _lock_digest(tx, sha256)
        key = self._open_any(tx, sha256) or new_key()
        # The bytes may lie plain, of others, and will be replaced.
        self._put(tx, sorted({project_id} | holders(tx, sha256)), sha256, key, now)
        return key

    def _put(self, tx: Connection, projects: Iterable[str], sha256: str, key: bytes, now: datetime) -> None:
        for project_id in projects:
            sealed = self._projects.ensure(tx, project_id, now).seal(key, _place(sha256))
            tx.execute(_PUT, {"sha256": sha256, "project": project_id, "sealed": sealed, "now": now})

    def _open_any(self, tx: Connection, sha256: str) -> bytes | None:
        for row in tx.execute(_SEALED, {"sha256": sha256}):
            try:
                return self._projects.of(tx, row.project_id).open(row.sealed, _place(sha256))
            except CannotOpen as error:
                raise WrongMasterKey from error
        return None

    def _remember(self, sha256: str, key: bytes) -> None:
        with self._lock:
            self._known[sha256] = key
            self._known.move_to_end(sha256)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _lock_digest(tx: Connection, sha256: str) -> None:
    """Two that store the same bytes for the first time must not make two keys. SQLite has one writer anyway."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(sha256, 0))))


def _place(sha256: str) -> bytes:
    return f"blob {sha256}".encode()
