"""Stops a script that fills the disk, long before others notice: by what it has written, and by what is left for all."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from worker.confinement.accounts import left_by
from worker.watched_thread import WatchedThread

LOOK_SECONDS = 1.0
# Counting may take this share of the time.
SHARE_OF_TIME = 0.05
RESERVE = 0.05  # of the disk, and of its inodes
# A script with less than this is not to blame for a full disk.
SMALL_BYTES = 1 << 30


class DiskGuard:
    """``overrun`` is what has been exceeded, in words, once it has been; ``exceeded`` is called then, from this guard's thread."""

    def __init__(
        self,
        folders: Iterable[Path],
        max_bytes: int,
        *,
        user: Callable[[], int | None],
        exceeded: Callable[[], None],
        small: int = SMALL_BYTES,
    ) -> None:
        self._folders = tuple(folders)
        self._max_bytes = max_bytes
        self._user = user
        self._exceeded = exceeded
        self._small = small
        self._stopped = threading.Event()
        self._thread = WatchedThread("disk", self._run, exceeded)
        self._is_started = False
        self.overrun: str | None = None

    def start(self) -> None:
        self._is_started = True
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._is_started:
            self._thread.join()

    def check(self) -> None:
        self._thread.check()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(max(pause, LOOK_SECONDS)) and self.overrun is None:
            began = time.monotonic()
            self.overrun = self.look()
            pause = (time.monotonic() - began) / SHARE_OF_TIME
        if self.overrun is not None:
            self._exceeded()

    def look(self) -> str | None:
        user = self._user()
        elsewhere = left_by(user) if user is not None else []
        used = sum(disk_bytes(path) for path in (*self._folders, *elsewhere))
        if used >= self._max_bytes:
            return f"its files hold {_gib(used)}; this worker grants a script {_gib(self._max_bytes)} (TRAINYARD_SCRIPT_MAX_DISK_BYTES)"
        disk = os.statvfs(self._folders[0])
        is_short = disk.f_bavail < RESERVE * disk.f_blocks or (disk.f_files and disk.f_favail < RESERVE * disk.f_files)
        if is_short and used > self._small:
            return f"less than {RESERVE:.0%} of the worker's disk is free, and the script's files hold {_gib(used)}"
        return None


def disk_bytes(path: Path) -> int:
    """What a file, or a folder with all below it, takes on the disk: holes take nothing. What vanishes meanwhile counts as nothing."""
    entries = [Path(folder, name) for folder, names, files in os.walk(path) for name in (*names, *files)]
    return sum(_bytes_of(entry) for entry in (path, *entries))


def _bytes_of(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512  # of 512 bytes each, whatever the file system's own are
    except OSError:
        return 0


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / (1 << 30):.2f} GiB"
