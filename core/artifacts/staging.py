"""Bytes on their way into a store: a folder of this machine's disk where uploads wait until they are whole and verified."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from pathlib import Path

from core.artifacts.content import Contents, PlainContents
from core.artifacts.upload import Digests, Upload, UploadKey
from core.errors import StorageFull
from core.ids import new_id

RESERVE = 0.05  # of the disk: uploads stop here, so that the ledger beside them can still write

Publish = Callable[[Path, str], None]  # what a store does with a durable file and its SHA-256; it takes the file away


class Staging:
    """One file ``<owner>.<digest>`` per unfinished upload. ``reserve`` is the share of the disk that uploads leave free.

    ``contents`` decides in which form the bytes lie there, and later in the store.
    """

    def __init__(self, folder: Path, publish: Publish, *, reserve: float = RESERVE, contents: Contents | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.reserve = reserve
        self._publish = publish
        self._contents = contents or PlainContents()
        self._digests = Digests()

    def durable_offset(self, key: UploadKey) -> int:
        try:
            return self._contents.durable_bytes(self.folder / key.name, key.owner, key.sha256)
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def upload(self, key: UploadKey, size: int) -> Iterator[Upload]:
        """Goes on with an upload and publishes it, still locked, once it is whole and has its digest."""
        path = self.folder / key.name
        with storage_errors(), Upload.open(path, key, size, self._digests, self._contents) as upload:
            self._check_space(size - upload.offset)
            yield upload
            if upload.is_whole:
                upload.check_digest()
                self._publish(path, key.sha256)
                upload.published()

    def put(self, chunks: Iterable[bytes], *, owner: str = "", keeps_reserve: bool = False) -> str:
        path = self.folder / f"{new_id('put')}.part"
        digest = hashlib.sha256()
        try:
            with storage_errors(), FileIO(path, "xb+") as file:
                content = self._contents.fresh(file, path, owner)
                for chunk in chunks:
                    if keeps_reserve:
                        self._check_space(len(chunk))
                    digest.update(chunk)
                    content.append(chunk)
                content.finish(digest.hexdigest())
                self._publish(path, digest.hexdigest())
                content.published(digest.hexdigest())
        finally:
            path.unlink(missing_ok=True)
        return digest.hexdigest()

    def sweep(self, *, older_than: float) -> None:
        """Drops what nobody has touched since."""
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than:
                    path.unlink()

    def _check_space(self, num_bytes: int) -> None:
        disk = os.statvfs(self.folder)
        if disk.f_bavail * disk.f_frsize - num_bytes < self.reserve * disk.f_blocks * disk.f_frsize:
            raise StorageFull(f"the store keeps {self.reserve:.0%} of its disk free and has no room for {num_bytes} more bytes")


class StagedStore:
    """What stores have alike whose uploads wait in a folder until they are whole: the part of the port that brings bytes."""

    staging: Staging

    def durable_offset(self, key: UploadKey) -> int:
        return self.staging.durable_offset(key)

    def upload(self, key: UploadKey, size: int) -> contextlib.AbstractContextManager[Upload]:
        return self.staging.upload(key, size)

    def put(self, chunks: Iterable[bytes], *, owner: str = "", keeps_reserve: bool = False) -> str:
        return self.staging.put(chunks, owner=owner, keeps_reserve=keeps_reserve)


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """A full disk or quota becomes StorageFull; every other OSError stays what it is."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull from error
        raise
