"""Files that the script hands over: written beside, then put in place in one step; nothing outside the folder is touched."""

import os
import shutil
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.manifest import check_relative_path
from worker.tracking.answers import Absent, InvalidValue, NoSpace, TooLarge
from worker.tracking.folder import TrackingFolder

MAX_FILES = 20_000
MAX_LISTED = 10_000
FREE_BYTES_KEPT = 512 << 20
LOOK_EVERY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """``size`` is None for a folder."""

    name: str
    size: int | None


class ArtifactFolder:
    """Paths are relative, with '/' between their parts; those of ``check_relative_path`` and no others."""

    def __init__(self, folder: TrackingFolder, *, max_bytes: int) -> None:
        self._root = folder.artifacts
        self._incoming = folder.incoming
        self._max_bytes = max_bytes
        shutil.rmtree(self._incoming, ignore_errors=True)
        for path in (self._root, self._incoming):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sizes = [path.stat().st_size for path in self._root.rglob("*") if path.is_file() and not path.is_symlink()]
        self._lock = threading.Lock()
        self._num_files, self._num_bytes = len(sizes), sum(sizes)  # what is on its way counts too

    def put(self, where: str, chunks: Iterable[bytes], *, size: int | None) -> None:
        """Replaces the file when all of it has come; an error of ``chunks`` leaves everything as it was."""
        target = self._path(where)
        self._check_room(size or 0)
        temporary = self._incoming / uuid.uuid4().hex
        written = 0
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    written += len(chunk)
                    self._count(len(chunk))
                    file.write(chunk)
            self._put_in_place(temporary, target)
        except BaseException as error:
            self._count(-written)
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise NoSpace(f"the disk of this node does not take it: {error.strerror}") from None
            raise

    def open(self, where: str) -> tuple[BinaryIO, int]:
        """The file and its size in bytes."""
        path = self._path(where)
        try:
            if not path.is_file() or path.is_symlink():
                raise FileNotFoundError(where)
            file = path.open("rb")
        except OSError:
            raise Absent(f"No such artifact: '{where[:200]}'") from None
        return file, os.fstat(file.fileno()).st_size

    def entries(self, where: str) -> list[Entry]:
        """What lies in the folder, by name; nothing for a file, or for what is not there. ``where`` is empty for all."""
        path = self._path(where) if where else self._root
        if not path.is_dir():
            return []
        found = sorted(item for item in path.iterdir() if not item.is_symlink())
        return [Entry(item.name, None if item.is_dir() else item.stat().st_size) for item in found[:MAX_LISTED]]

    def _path(self, where: str) -> Path:
        try:
            path = self._root / check_relative_path(where)
        except ValueError as error:
            raise InvalidValue(f"Invalid path: {error}") from None
        if not path.parent.resolve().is_relative_to(self._root.resolve()):
            raise InvalidValue("Invalid path: it leads out of the folder")
        return path

    def _check_room(self, num_bytes: int) -> None:
        if self._num_files >= MAX_FILES or self._num_bytes + num_bytes > self._max_bytes:
            raise TooLarge(f"a job's artifacts are at most {MAX_FILES} files and {self._max_bytes} bytes")
        if shutil.disk_usage(self._root).free - num_bytes < FREE_BYTES_KEPT:
            raise NoSpace("the disk of this node is full")

    def _count(self, num_bytes: int) -> None:
        """TooLarge or NoSpace when more has come than there is room for; looked at now and then."""
        with self._lock:
            before = self._num_bytes
            self._num_bytes += num_bytes
        if num_bytes > 0 and (before // LOOK_EVERY_BYTES != self._num_bytes // LOOK_EVERY_BYTES or self._num_bytes > self._max_bytes):
            self._check_room(0)

    def _put_in_place(self, temporary: Path, target: Path) -> None:
        with self._lock:
            before = target.stat().st_size if target.is_file() else None
            try:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                temporary.replace(target)
            except OSError as error:
                raise InvalidValue(f"a file cannot lie there: {error.strerror}") from None
            self._num_files += before is None
            self._num_bytes -= before or 0
