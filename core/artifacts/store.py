"""The byte store: whole objects under their SHA-256, and uploads on their way to become one.

A port and its folder. Names are digests and ids that the ledger made, never strings that a user chose.
"""

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, Self

from core.artifacts.upload import Digests, Upload, UploadKey
from core.errors import StorageFull
from core.ids import new_id
from core.manifest import fsync

CHUNK = 1 << 20  # bytes of one read; 64 KiB reads serve a 256 MB download a third slower
RESERVE = 0.05  # of the disk: uploads stop here, so that the ledger beside them can still write
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Reader(Protocol):
    """Chunks of an object, to be closed by whoever stops before the last."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...


class ByteStore(Protocol):
    """What the service asks of a place for bytes. Objects never change: a digest names the same bytes for ever."""

    def durable_offset(self, key: UploadKey) -> int:
        """Bytes of an unfinished upload that would survive a power cut; 0 when there is none."""

    def upload(self, key: UploadKey, size: int) -> contextlib.AbstractContextManager[Upload]:
        """Goes on with an upload of ``size`` bytes in all. UploadInProgress while another holds it, StorageFull at the reserve."""

    def put(self, chunks: Iterable[bytes], *, keeps_reserve: bool = False) -> str:
        """Stores an object and returns its SHA-256. With ``keeps_reserve`` StorageFull at the reserve: for what users send."""

    def has(self, sha256: str) -> bool: ...

    def read(self, sha256: str, start: int, end: int) -> Reader:
        """Bytes ``start`` to ``end`` in chunks; FileNotFoundError for an object that is not there."""

    def delete(self, sha256: str, *, older_than: float) -> bool:
        """Removes an object unless it was stored after the Unix time ``older_than``."""

    def sweep(self, *, older_than: float) -> Iterator[str]:
        """Drops unfinished uploads untouched since ``older_than`` and names the objects stored before it."""


class FolderStore:
    """A folder of a local file system: ``sha256/ab/cd/<digest>`` and ``staging/<owner>.<digest>``."""

    def __init__(self, root: Path, *, reserve: float = RESERVE) -> None:
        self._objects = root / "sha256"
        self._staging = root / "staging"
        self.reserve = reserve
        self._digests = Digests()
        for folder in (self._objects, self._staging):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise ValueError("not a SHA-256")
        return self._objects / sha256[:2] / sha256[2:4] / sha256

    def durable_offset(self, key: UploadKey) -> int:
        path = self._staging / key.name
        try:
            fsync(path)
            return path.stat().st_size
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def upload(self, key: UploadKey, size: int) -> Iterator[Upload]:
        path = self._staging / key.name
        with storage_errors(), Upload.open(path, key, size, self._digests) as upload:
            self._check_space(size - upload.offset)
            yield upload
            if upload.is_whole:
                upload.check_digest()
                self._publish(path, key.sha256)

    def put(self, chunks: Iterable[bytes], *, keeps_reserve: bool = False) -> str:
        path = self._staging / f"{new_id('put')}.part"
        digest = hashlib.sha256()
        try:
            with storage_errors(), path.open("xb") as file:
                for chunk in chunks:
                    if keeps_reserve:
                        self._check_space(len(chunk))
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                self._publish(path, digest.hexdigest())
        finally:
            path.unlink(missing_ok=True)
        return digest.hexdigest()

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def read(self, sha256: str, start: int, end: int) -> Reader:
        return _FolderReader(self.path(sha256), start, end)

    def delete(self, sha256: str, *, older_than: float) -> bool:
        # Set aside first, then looked at: an upload of the same bytes may have finished since the caller decided.
        aside = self._staging / f"{sha256}.{new_id('del')}"
        try:
            if self.path(sha256).stat().st_mtime >= older_than:
                return False
            self.path(sha256).rename(aside)
        except FileNotFoundError:
            return False
        if aside.stat().st_mtime >= older_than:
            aside.rename(self.path(sha256))
            return False
        aside.unlink()
        return True

    def sweep(self, *, older_than: float) -> Iterator[str]:
        for path in self._staging.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than:
                    path.unlink()
        for path in self._objects.glob("??/??/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than:
                    yield path.name

    def _publish(self, path: Path, sha256: str) -> None:
        """Gives durable bytes their final name; a copy that was there already is replaced by the same bytes."""
        target = self.path(sha256)
        fresh = [folder for folder in (target.parent, target.parent.parent) if not folder.exists()]
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(path)  # the age of an object counts from here
        path.rename(target)
        for folder in (target.parent, *(folder.parent for folder in fresh)):
            fsync(folder)

    def _check_space(self, num_bytes: int) -> None:
        disk = os.statvfs(self._staging)
        if disk.f_bavail * disk.f_frsize - num_bytes < self.reserve * disk.f_blocks * disk.f_frsize:
            raise StorageFull(f"the store keeps {self.reserve:.0%} of its disk free and has no room for {num_bytes} more bytes")


class _FolderReader:
    """Reads a file from ``start`` to ``end``; closes it when it is through, or when told."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = end - start

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._left <= 0:
            self.close()
            raise StopIteration
        chunk = self._file.read(min(CHUNK, self._left))
        if not chunk:
            self.close()
            raise EOFError(f"an object of the store ends {self._left} bytes early")
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """A full disk or quota becomes StorageFull; every other OSError stays what it is."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull from error
        raise
