"""One API process per SQLite file: writers of one process queue fairly, those of two would not. The kernel keeps the lock."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url


class AlreadyServed(Exception):
    """Another process serves this ledger."""


@contextmanager
def sole_server(database_url: str) -> Iterator[None]:
    """Holds ``<file>.server`` while the block runs; raises AlreadyServed. On PostgreSQL replicas are welcome: does nothing."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        yield
        return
    path = Path(url.database).resolve()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The file stays when the process ends: unlinking it would let two processes lock two files of one name.
    descriptor = os.open(f"{path}.server", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyServed(f"another API process serves {path}; SQLite takes one. Stop it, or use PostgreSQL for replicas") from None
        yield
    finally:
        os.close(descriptor)
