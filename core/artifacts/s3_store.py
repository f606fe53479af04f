"""The byte store in a bucket of an S3-compatible store. The only file that knows its driver.

Objects lie under ``<prefix>/sha256/ab/cd/<digest>``. Uploads through the service wait on this machine's disk until they are
whole and verified, and are then sent on; direct ones are put under ``<prefix>/staging/`` and read back before they count.
Encrypted ones lie under ``<prefix>/sealed`` in the same way.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as Bucket

from core.artifacts.content import Contents
from core.artifacts.s3_place import S3Place
from core.artifacts.staging import RESERVE, StagedStore, Staging
from core.artifacts.store import CHUNK, DirectUpload, check_sha256
from core.artifacts.upload import UploadKey
from core.errors import BlobMissing, DigestMismatch, Unavailable
from core.ids import new_id

PART = 8 << 20  # bytes of one part of a multipart upload; larger where an object would have too many
MOST_PARTS = 9_000  # the protocol's most is 10,000
SENDERS = 3  # parts on their way at once: they bound the memory of one upload
NOTICE_SECONDS = 60.0  # a deleter that died leaves its notice behind; later it does not count
ONE_PUT = 5 << 30  # bytes; the protocol's largest single PUT, and largest copy
LASTS = timedelta(minutes=15)  # of a presigned URL, until its request begins
_TICK = 1.0  # seconds; how exactly the store tells when an object was stored


class S3Store(StagedStore):
    """``home`` is a local folder for uploads on their way. Nothing is connected before the first use, so a fork may come before."""

    def __init__(self, place: S3Place, home: Path, *, reserve: float = RESERVE, contents: Contents | None = None) -> None:
        self._place = place
        self._building = threading.Lock()
        self._bucket: Bucket | None = None
        self._objects = "sealed" if contents else "sha256"
        staging = home / ("sealed-staging" if contents else "staging")
        self.staging = Staging(staging, self._publish_file, reserve=reserve, contents=contents)

    @property
    def direct(self) -> Self | None:
        return self if self._place.is_direct else None

    def has(self, sha256: str) -> bool:
        return self._head(self._object(sha256)) is not None

    def read(self, sha256: str, start: int, end: int) -> "_BucketReader":
        path = self._object(sha256)
        if start >= end:  # the protocol has no empty range
            if self._head(path) is None:
                raise FileNotFoundError(path)
            return _BucketReader(iter(()), 0)
        with _store_errors():
            found = obstore.get(self._client, path, options={"range": (start, end)})
        return _BucketReader(iter(found.stream(min_chunk_size=CHUNK)), end - start)

    def delete(self, sha256: str, *, older_than: float) -> bool:
        path, notice = self._object(sha256), self._notice(sha256)
        if not self._is_older(self._head(path), older_than):
            return False
        # Whoever stores the same bytes now sees the notice, or we see in the second look that they are new.
        with _store_errors():
            obstore.put(self._client, notice, b"")
            is_old = self._is_older(self._head(path), older_than)
            if is_old:
                obstore.delete(self._client, path)
            obstore.delete(self._client, notice)
        return is_old

    def sweep(self, *, older_than: float) -> Iterator[str]:
        self.staging.sweep(older_than=older_than)
        for path in self._older("staging", older_than):
            with _store_errors():
                obstore.delete(self._client, path)
        for path in self._older(self._objects, older_than):
            yield path.rpartition("/")[2]

    # Bytes that do not pass through the service

    def download_url(self, sha256: str, *, media_type: str, disposition: str) -> str:
        shown = {"response-content-type": media_type, "response-content-disposition": disposition}
        return self._place.signer.url("GET", self._place.key(self._object(sha256)), at=datetime.now(UTC), lasts=LASTS, query=shown)

    def upload_to(self, key: UploadKey, size: int) -> DirectUpload | None:
        if size > ONE_PUT:
            return None
        headers = {"Content-Length": str(size)}
        path = self._place.key(_incoming(key))
        return DirectUpload(self._place.signer.url("PUT", path, at=datetime.now(UTC), lasts=LASTS, headers=headers), headers)

    def adopt(self, key: UploadKey, size: int) -> None:
        # What is read must be what is kept: the sender can still write to the first place, and to no other.
        incoming, ours = _incoming(key), f"staging/{new_id('put')}.part"
        with _store_errors():
            try:
                obstore.copy(self._client, incoming, ours)
            except FileNotFoundError:
                raise BlobMissing([key.sha256]) from None
            try:
                self._verify(ours, key, size, incoming)
                obstore.copy(self._client, ours, self._object(key.sha256))
            finally:
                obstore.delete(self._client, ours)
            self._confirm(key.sha256)
            obstore.delete(self._client, incoming)

    def _verify(self, path: str, key: UploadKey, size: int, incoming: str) -> None:
        digest = hashlib.sha256()
        found = obstore.get(self._client, path)
        num_bytes = int(found.meta["size"])
        if num_bytes == size:
            for chunk in found.stream(min_chunk_size=CHUNK):
                digest.update(chunk)
        if num_bytes != size or digest.hexdigest() != key.sha256:
            obstore.delete(self._client, incoming)
            raise DigestMismatch(f"the {num_bytes} bytes received are not the announced {size} with this SHA-256")

    @property
    def _client(self) -> Bucket:
        with self._building:
            if self._bucket is None:
                self._bucket = Bucket(self._place.bucket, prefix=self._place.prefix or None, **self._place.options())
            return self._bucket

    def _publish_file(self, path: Path, sha256: str) -> None:
        """Sends a whole, verified and durable file to its place. When that fails it stays, and the next try goes on from here."""
        part = max(PART, path.stat().st_size // MOST_PARTS)
        with _store_errors(), path.open("rb") as file:
            try:
                obstore.put(self._client, self._object(sha256), file, chunk_size=part, max_concurrency=SENDERS)
            except FileNotFoundError as error:
                raise Unavailable("the bucket of the byte store is not there") from error
        self._confirm(sha256)
        path.unlink()

    def _confirm(self, sha256: str) -> None:
        """Unavailable when somebody deletes what was just stored again: it began before, and is through in a moment."""
        # In this order: without a notice it has not looked yet and will find the object new, or it is through and the object is gone.
        notice, found = self._head(self._notice(sha256)), self._head(self._object(sha256))
        if found is None or (notice is not None and not self._is_older(notice, found["last_modified"].timestamp() - NOTICE_SECONDS)):
            raise Unavailable("the store was just removing an old copy of this object; send it again")

    def _object(self, sha256: str) -> str:
        return f"{self._objects}/{check_sha256(sha256)[:2]}/{sha256[2:4]}/{sha256}"

    def _notice(self, sha256: str) -> str:
        kind = "" if self._objects == "sha256" else f"{self._objects}."
        return f"staging/{kind}{check_sha256(sha256)}.deleting"

    def _head(self, path: str) -> Any:
        try:
            with _store_errors():
                return obstore.head(self._client, path)
        except FileNotFoundError:
            return None

    def _is_older(self, found: Any, than: float) -> bool:
        return found is not None and found["last_modified"].timestamp() + _TICK <= than

    def _older(self, folder: str, than: float) -> Iterator[str]:
        with _store_errors():
            for batch in obstore.list(self._client, folder):
                yield from (item["path"] for item in batch if self._is_older(item, than))


class _BucketReader:
    """Chunks of an answer, counted."""

    def __init__(self, chunks: Iterator[Any], size: int) -> None:
        self._chunks = chunks
        self._left = size

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        with _store_errors():
            chunk = next(self._chunks, None)
        if chunk is None:
            if self._left:
                raise EOFError(f"an object of the store ends {self._left} bytes early")
            raise StopIteration
        data = bytes(chunk)
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._chunks = iter(())  # the connection goes with the last reference
        self._left = 0


def _incoming(key: UploadKey) -> str:
    return f"staging/{key.name}"


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    """The driver's errors as Unavailable. Its words name keys of the bucket and the store's answer, and no credential."""
    try:
        yield
    except (BaseError, PermissionError) as error:
        raise Unavailable("the byte store does not answer") from error
