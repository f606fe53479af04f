"""Stores that encrypt, on a ledger of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from core.access.project_keys import ProjectKeys
from core.artifacts.blob_keys import BlobKeys
from core.artifacts.open_store import Opener, seal_store
from core.artifacts.store import FolderStore
from core.clock import Clock, SystemClock
from core.db.engine import Database
from core.db.tables import projects
from tests.bed.servers import Servers

MASTER = "the operator's master key, long enough"


def make_projects(db: Database, *ids: str) -> None:
    with db.begin() as tx:
        tx.execute(insert(projects), [{"id": name, "name": name, "created_at": SystemClock().now()} for name in ids])


def keys_of(db: Database, *, master: str = MASTER, clock: Clock | None = None) -> BlobKeys:
    """As another process would open them: nothing is remembered."""
    return BlobKeys(db, ProjectKeys(master), clock or SystemClock())


def opener_of(kind: str, servers: Servers, folder: Path) -> Opener:
    """Opens a folder, or one new bucket with its staging in the folder."""
    if kind == "folder":
        return folder_of(folder)
    bucket = servers.s3.new_bucket()
    return lambda contents: bucket.store(folder, contents=contents)


def folder_of(root: Path) -> Opener:
    return lambda contents: FolderStore(root, reserve=0.0, contents=contents)


def reopener(opener: Opener, keys_url: str) -> Callable[[], Any]:
    """Opens the store as another process would; it encrypts when there is a ledger for its keys."""
    return lambda: seal_store(opener, keys_of(Database(keys_url))) if keys_url else opener(None)
