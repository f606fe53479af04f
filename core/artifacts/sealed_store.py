"""The byte store of an installation that encrypts: a layer over two stores of one place, one for sealed objects and one for plain ones.

What was stored before encryption was switched on stays readable, and so does what was sealed when it is switched off again.
Digests, sizes, ranges and entity tags are those of the plain bytes; nothing above this layer sees a difference.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Self

from core.access.vault import CannotOpen
from core.artifacts.blob_keys import BlobKeys
from core.artifacts.segments import FRAME, HEADER, OVERHEAD, SEGMENT, FileCipher, stored_offset
from core.artifacts.store import ByteStore, DirectTransfers, Reader
from core.artifacts.upload import Upload, UploadKey
from core.errors import BytesDamaged


class SealedStore:
    """``encrypts`` decides where new objects go. Bytes that are or become encrypted pass through the service: no store has their key."""

    def __init__(self, sealed: ByteStore, plain: ByteStore, keys: BlobKeys, *, encrypts: bool) -> None:
        self.sealed = sealed
        self.plain = plain
        self._keys = keys
        self._encrypts = encrypts
        self._target = sealed if encrypts else plain

    @property
    def direct(self) -> DirectTransfers | None:
        if self._encrypts or self.plain.direct is None:
            return None
        return _DirectWherePlain(self.plain.direct, self.sealed)

    def durable_offset(self, key: UploadKey) -> int:
        return self._target.durable_offset(key)

    def upload(self, key: UploadKey, size: int) -> contextlib.AbstractContextManager[Upload]:
        return self._target.upload(key, size)

    def put(self, chunks: Iterable[bytes], *, owner: str = "", keeps_reserve: bool = False) -> str:
        return self._target.put(chunks, owner=owner, keeps_reserve=keeps_reserve)

    def has(self, sha256: str) -> bool:
        return self.sealed.has(sha256) or self.plain.has(sha256)

    def read(self, sha256: str, start: int, end: int) -> Reader:
        # Encrypting replaces a plain copy: whoever looked for the sealed one too early finds it in the second look.
        for read in (self._read_sealed, self.plain.read) if self._encrypts else (self.plain.read, self._read_sealed):
            with contextlib.suppress(FileNotFoundError):
                return read(sha256, start, end)
        return self._read_sealed(sha256, start, end)

    def delete(self, sha256: str, *, older_than: float) -> bool:
        removed = [store.delete(sha256, older_than=older_than) for store in (self.sealed, self.plain)]
        return any(removed)

    def sweep(self, *, older_than: float) -> Iterator[str]:
        return itertools.chain(self.sealed.sweep(older_than=older_than), self.plain.sweep(older_than=older_than))

    def _read_sealed(self, sha256: str, start: int, end: int) -> Reader:
        try:
            return self._open(sha256, start, end, anew=False)
        except CannotOpen:  # the object was replaced between header and segments, or its key was made again
            pass
        try:
            return self._open(sha256, start, end, anew=True)
        except CannotOpen as error:
            raise BytesDamaged from error

    def _open(self, sha256: str, start: int, end: int, *, anew: bool) -> "SealedReader":
        header = b"".join(_AtMost(self.sealed.read(sha256, 0, HEADER)))
        cipher = FileCipher.of(header, self._keys.of(sha256, anew=anew), sha256)
        first, behind = start // SEGMENT, max(-(-end // SEGMENT), start // SEGMENT + 1)
        stored = self.sealed.read(sha256, stored_offset(first), stored_offset(behind))
        return SealedReader(_AtMost(stored), cipher, start, end)


class SealedReader:
    """Plain bytes ``start`` to ``end`` of an object, from its stored segments. The first of them is opened at once."""

    def __init__(self, stored: "_AtMost", cipher: FileCipher, start: int, end: int) -> None:
        self._stored = stored
        self._cipher = cipher
        self._buffer = bytearray()
        self._number = start // SEGMENT
        self._position = start
        self._end = end
        self._is_over = False
        try:
            self._ready = self._next_part()
            if not self._ready and start < end:
                raise CannotOpen
        except BaseException:
            stored.close()
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        part = self._ready
        try:
            part = part or self._next_part()
        except CannotOpen as error:
            self.close()
            raise BytesDamaged from error
        self._ready = b""
        if not part:
            self.close()
            if self._position < self._end:
                raise BytesDamaged(f"an encrypted object of the store ends {self._end - self._position} bytes early")
            raise StopIteration
        return part

    def close(self) -> None:
        self._is_over = True
        self._stored.close()

    def _next_part(self) -> bytes:
        """What is wanted of the next segment; nothing when all was given, or the object ends."""
        if self._position >= self._end or self._is_over:
            return b""
        while len(self._buffer) < FRAME and (chunk := next(self._stored, b"")):
            self._buffer += chunk
        if not self._buffer:
            return b""
        with memoryview(self._buffer) as view, view[:FRAME] as frame:
            data = self._open_segment(frame)
        del self._buffer[:FRAME]
        offset = self._position - self._number * SEGMENT
        part = data[offset : offset + self._end - self._position] if offset or len(data) > self._end - self._position else data
        self._is_over = len(data) < SEGMENT
        self._number += 1
        self._position += len(part)
        return part

    def _open_segment(self, frame: memoryview) -> bytes:
        """A shorter one must be the last; whether a full one is, only trying tells."""
        if len(frame) == FRAME:
            with contextlib.suppress(CannotOpen):
                return self._cipher.open(frame, self._number, is_last=False)
        elif len(frame) < OVERHEAD:
            raise CannotOpen
        return self._cipher.open(frame, self._number, is_last=True)


class _AtMost:
    """The chunks of a reader whose object may end before it does."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._reader)
        except EOFError:
            raise StopIteration from None

    def close(self) -> None:
        self._reader.close()


class _DirectWherePlain:
    """A bucket's own transfers, save for what it holds sealed."""

    def __init__(self, direct: DirectTransfers, sealed: ByteStore) -> None:
        self._direct = direct
        self._sealed = sealed
        self.upload_to = direct.upload_to
        self.adopt = direct.adopt

    def download_url(self, sha256: str, *, media_type: str, disposition: str) -> str | None:
        if self._sealed.has(sha256):
            return None
        return self._direct.download_url(sha256, media_type=media_type, disposition=disposition)
