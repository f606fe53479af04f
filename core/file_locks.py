"""Kernel locks on files that may be removed while somebody waits for them. They end with the process that holds them."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def open_locked(path: Path, *, shared: bool = False) -> int:
    """A descriptor of the file at ``path``, made if need be and locked, for this user alone. Waits for who holds it.

    One who removes the file while holding its lock leaves those who waited with a file of no name: they begin again.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Whether nobody else holds it, and we do now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
