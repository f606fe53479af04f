"""Copies what lies on the API's own machine into the byte store, from inside the folders that its operator allows and nowhere else."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from io import FileIO
from pathlib import Path

from core.artifacts.store import CHUNK, ByteStore
from core.artifacts.uploads import note_upload
from core.db.engine import Database
from core.errors import InvalidInput, Problem
from core.manifest import ManifestFile, check_relative_path
from core.wire.datasets import MAX_FILES

POINTER = "/from_path"
HIDDEN = (".", "__MACOSX")  # what no reader of datasets looks at


def import_path(
    db: Database, store: ByteStore, *, project_id: str, path: Path, roots: Sequence[Path], now: datetime
) -> tuple[ManifestFile, ...]:
    """The file, or every file below the folder, as objects that the project has brought.

    InvalidInput for a path outside the roots (links followed), for special files, links to folders and names that no dataset
    may hold. Hidden files are left out.
    """
    inside = _Roots(tuple(root.resolve() for root in roots))
    start = inside.resolve(path)
    sources = [(start, start.name)] if start.is_file() else list(_walk(start))
    for _, name in sources:
        _check_name(name)
    if not sources:
        raise _refused("there is no file in it")
    if len(sources) > MAX_FILES:
        raise _refused(f"{len(sources)} files are more than the {MAX_FILES} of a version")
    return tuple(_copy(db, store, inside, source, name, project_id=project_id, now=now) for source, name in sources)


@dataclass(frozen=True, slots=True)
class _Roots:
    folders: tuple[Path, ...]

    def resolve(self, path: Path) -> Path:
        """Absent and forbidden read alike: nothing outside can be probed."""
        try:
            resolved = path.resolve(strict=True)
        except (OSError, RuntimeError):
            resolved = Path("/")
        self.require(resolved)
        return resolved

    def require(self, path: Path) -> None:
        if not any(path.is_relative_to(folder) for folder in self.folders):
            raise _refused("there is no such file or folder inside those that this server's operator allows")

    def open(self, path: Path) -> FileIO:
        """The file, if what was opened is an ordinary one inside; judged by the open file, for names may change meanwhile."""
        file = FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        try:
            self.require(Path(os.readlink(f"/proc/self/fd/{file.fileno()}")))
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refused(f"{path.name} is not an ordinary file")
        except BaseException:
            file.close()
            raise
        return file


@dataclass(slots=True)
class _Counted:
    file: FileIO
    size: int = field(default=0)

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.file.read(CHUNK):
            self.size += len(chunk)
            yield chunk


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith(HIDDEN))
        for name in folders:
            if (Path(folder) / name).is_symlink():
                raise _refused(f"{name} is a link to a folder")
        for name in sorted(name for name in names if not name.startswith(HIDDEN)):
            path = Path(folder) / name
            yield path, path.relative_to(root).as_posix()


def _raise(error: OSError) -> None:
    raise _refused(f"a folder cannot be read: {error.strerror}") from error


def _check_name(name: str) -> None:
    try:
        check_relative_path(name)
        name.encode()
    except ValueError as error:  # lone surrogates, which stand for bytes that are no UTF-8, included
        raise _refused(f"{name!a} cannot be the name of a file here: {error}") from None


def _copy(db: Database, store: ByteStore, inside: _Roots, source: Path, name: str, *, project_id: str, now: datetime) -> ManifestFile:
    try:
        with closing(inside.open(source)) as file:
            counted = _Counted(file)
            sha256 = store.put(counted, owner=project_id, keeps_reserve=True)
    except (FileNotFoundError, PermissionError) as error:
        raise _refused(f"{name} cannot be read: {error.strerror}") from None
    with db.begin() as tx:
        note_upload(tx, project_id, sha256, counted.size, now)
    return ManifestFile(path=name, size=counted.size, sha256=sha256)


def _refused(message: str) -> InvalidInput:
    return InvalidInput(problems=[Problem(POINTER, message)])
