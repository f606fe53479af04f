"""Says which entries of the node's cache this process uses, by locks that end with it: nobody removes one of them meanwhile.

Beside an entry ``K`` lies ``.K.use``: share-locked by everyone who reads the entry or makes it, and touched when that begins and ends.
``trainer/data/cache.py`` does the same for prepared data; ``worker/cache_pruning.py`` removes what nobody uses.
"""

import os
from pathlib import Path

from core.file_locks import open_locked


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
        descriptor = open_locked(folder.with_name(f".{folder.name}.use"), shared=True)
        os.utime(descriptor)
        self._held[folder] = descriptor

    def close(self) -> None:
        """Lets all of them go."""
        while self._held:
            _, descriptor = self._held.popitem()
            os.utime(descriptor)  # a job may have used it for days
            os.close(descriptor)
