"""The byte store: whole objects under their SHA-256, and uploads on their way to become one.

A port and its folder; ``core/artifacts/s3_store.py`` is the same in a bucket. Names are digests and ids that the ledger
made, never strings that a user chose.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from core.artifacts.content import Contents
from core.artifacts.staging import RESERVE, StagedStore, Staging
from core.artifacts.upload import Upload, UploadKey
from core.ids import new_id
from core.manifest import fsync

CHUNK = 1 << 20  # bytes of one read; 64 KiB reads serve a 256 MB download a third slower
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_sha256(sha256: str) -> str:
    """The digest itself; ValueError for anything else, so that no other string becomes a name in a store."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError("not a SHA-256")
    return sha256


class Reader(Protocol):
    """Chunks of an object, to be closed by whoever stops before the last."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DirectUpload:
    """One PUT straight to where the bytes lie. The URL is a secret while it lasts, and all of ``headers`` must be sent with it."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)


class DirectTransfers(Protocol):
    """What a store offers beside the port when others may reach it: bytes that do not pass through the service."""

    def download_url(self, sha256: str, *, media_type: str, disposition: str) -> str | None:
        """Where a GET of the object is answered, for a few minutes, with these Content-Type and Content-Disposition.

        None for an object that only the service can read.
        """

    def upload_to(self, key: UploadKey, size: int) -> DirectUpload | None:
        """Where a whole object of ``size`` bytes may be put; None for a size that one PUT cannot have."""

    def adopt(self, key: UploadKey, size: int) -> None:
        """Makes an object of what was put there, once its size and SHA-256 were found right.

        BlobMissing when nothing was put; DigestMismatch, and the bytes are dropped, when it is something else.
        """


class ByteStore(Protocol):
    """What the service asks of a place for bytes. Objects never change: a digest names the same bytes for ever.

    A store that others reach over a network raises Unavailable while it does not answer.
    """

    @property
    def direct(self) -> DirectTransfers | None:
        """None where every byte passes through the service."""

    def durable_offset(self, key: UploadKey) -> int:
        """Bytes of an unfinished upload that would survive a power cut; 0 when there is none."""

    def upload(self, key: UploadKey, size: int) -> contextlib.AbstractContextManager[Upload]:
        """Goes on with an upload of ``size`` bytes in all. UploadInProgress while another holds it, StorageFull at the reserve."""

    def put(self, chunks: Iterable[bytes], *, owner: str = "", keeps_reserve: bool = False) -> str:
        """Stores an object for ``owner``, a project or an attempt (a store that encrypts needs one), and returns its SHA-256.

        With ``keeps_reserve`` StorageFull at the reserve: for what users send.
        """

    def has(self, sha256: str) -> bool: ...

    def read(self, sha256: str, start: int, end: int) -> Reader:
        """Bytes ``start`` to ``end`` in chunks; FileNotFoundError for an object that is not there.

        BytesDamaged, here or from the reader, for encrypted ones that do not open.
        """

    def delete(self, sha256: str, *, older_than: float) -> bool:
        """Removes an object unless it was stored after the Unix time ``older_than``."""

    def sweep(self, *, older_than: float) -> Iterator[str]:
        """Drops unfinished uploads untouched since ``older_than`` and names the objects stored before it."""


class FolderStore(StagedStore):
    """A folder of a local file system: ``sha256/ab/cd/<digest>`` and ``staging/<owner>.<digest>``.

    Beneath a store that encrypts, ``sealed`` and ``sealed-staging`` with ``contents`` of its own.
    """

    direct = None

    def __init__(self, root: Path, *, reserve: float = RESERVE, contents: Contents | None = None) -> None:
        self._objects = root / ("sealed" if contents else "sha256")
        self._objects.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging = root / ("sealed-staging" if contents else "staging")
        self.staging = Staging(staging, self._publish, reserve=reserve, contents=contents)

    def path(self, sha256: str) -> Path:
        return self._objects / check_sha256(sha256)[:2] / sha256[2:4] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def read(self, sha256: str, start: int, end: int) -> Reader:
        return _FolderReader(self.path(sha256), start, end)

    def delete(self, sha256: str, *, older_than: float) -> bool:
        # Set aside first, then looked at: an upload of the same bytes may have finished since the caller decided.
        aside = self.staging.folder / f"{sha256}.{new_id('del')}"
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
        self.staging.sweep(older_than=older_than)
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
