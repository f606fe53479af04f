"""Files that the script hands over: written beside, then put in place in one step; nothing outside the folder is touched."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.manifest import MANIFEST, check_relative_path
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
        self._num_files, self._num_bytes = len(sizes), sum(sizes)

    def put(self, where: str, chunks: Iterable[bytes], *, size: int | None) -> None:
        """Replaces the file when all of it has come; an error of ``chunks`` leaves everything as it was."""
        target = self._path(where)
        if target.name == MANIFEST and target.parent == self._root:
            raise InvalidValue(f"'{MANIFEST}' is the name of the manifest of all artifacts")
        self._make_room(size or 0)
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        temporary = Path(name)
        try:
            with open(descriptor, "wb") as file:
                num_bytes = self._write(file, chunks)
            self._put_in_place(temporary, target, num_bytes)
        finally:
            temporary.unlink(missing_ok=True)

    def open(self, where: str) -> tuple[BinaryIO, int]:
        """The file and its size in bytes."""
        path = self._path(where)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            raise Absent(f"No such artifact: '{where[:200]}'") from None
        file = open(descriptor, "rb")
        if not path.is_file():
            file.close()
            raise Absent(f"No such artifact: '{where[:200]}'")
        return file, os.fstat(descriptor).st_size

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

    def _make_room(self, num_bytes: int) -> None:
        if self._num_files >= MAX_FILES or self._num_bytes + num_bytes > self._max_bytes:
            raise TooLarge(f"a job's artifacts are at most {MAX_FILES} files and {self._max_bytes} bytes")
        if shutil.disk_usage(self._root).free - num_bytes < FREE_BYTES_KEPT:
            raise NoSpace("the disk of this node is full")

    def _write(self, file: BinaryIO, chunks: Iterable[bytes]) -> int:
        written = looked_at = 0
        for chunk in chunks:
            written += len(chunk)
            if written - looked_at >= LOOK_EVERY_BYTES or self._num_bytes + written > self._max_bytes:
                self._make_room(written)
                looked_at = written
            file.write(chunk)
        return written

    def _put_in_place(self, temporary: Path, target: Path, num_bytes: int) -> None:
        before = target.stat().st_size if target.is_file() else None
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.replace(target)
        except OSError as error:
            raise InvalidValue(f"a file cannot lie there: {error.strerror}") from None
        self._num_files += before is None
        self._num_bytes += num_bytes - (before or 0)
