"""Says which entries of the node's cache this process uses, by locks that end with it: nobody removes one of them meanwhile.

Beside an entry ``K`` lies ``.K.use``: share-locked by everyone who reads the entry or makes it, and touched when that begins and ends.
``trainer/data/cache.py`` does the same for prepared data; ``worker/cache_pruning.py`` removes what nobody uses.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class CacheUse:
    """Each entry is held from ``hold`` to ``close``, or to the end of this process, whatever ends it. For one thread at a time."""

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}

    def hold(self, folder: Path) -> None:
        """Waits for one who is removing the entry, lock file and all: then once more."""
        if folder in self._held:
            os.utime(self._held[folder])
            return
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder.with_name(f".{folder.name}.use")
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    break
            os.close(descriptor)
        os.utime(descriptor)
        self._held[folder] = descriptor

    def close(self) -> None:
        """Lets all of them go."""
        while self._held:
            _, descriptor = self._held.popitem()
            os.utime(descriptor)  # a job may have used it for days
            os.close(descriptor)
