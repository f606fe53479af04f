"""Staging files that are never plain: segments are sealed as they fill, and what a request leaves over is sealed beside them."""

import contextlib
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from core.access.vault import CannotOpen
from core.artifacts.blob_keys import BlobKeys
from core.artifacts.content import Content, write_at
from core.artifacts.segments import FRAME, HEADER, OVERHEAD, SEGMENT, FileCipher, stored_offset
from core.errors import Unavailable
from core.manifest import fsync

TAIL = ".tail"  # behind the staging file's name


class SealedContent:
    """An open staging file of an encrypting store.

    Beside it lies, between two requests, the tail: the bytes of a segment that is not full yet. It is replaced whole and
    only used while the file ends exactly where it begins, so a crash at any point loses nothing that was durable.
    """

    def __init__(self, file: FileIO, path: Path, cipher: FileCipher, keys: BlobKeys, owner: str) -> None:
        self._file = file
        self._path = path
        self._cipher = cipher
        self._keys = keys
        self._owner = owner
        self._num_segments = 0
        self._pending = b""  # never more than a segment, for the last one is sealed as such
        self._last_bytes: int | None = None  # of the last segment, once the file is finished
        self._blob_key: bytes | None = None
        self._is_discarded = False
        self.on_published: Callable[[str], None] = lambda sha256: None

    @property
    def num_bytes(self) -> int:
        return self._num_segments * SEGMENT + (len(self._pending) if self._last_bytes is None else self._last_bytes)

    def append(self, data: bytes) -> None:
        before = self._num_segments, self._pending
        view = memoryview(self._pending + data if self._pending else data)
        try:
            while len(view) > SEGMENT:
                self._write(view[:SEGMENT], is_last=False)
                self._num_segments += 1
                view = view[SEGMENT:]
        except OSError:
            self._num_segments, self._pending = before
            self._file.truncate(stored_offset(self._num_segments))
            raise
        self._pending = bytes(view)

    def chunks(self) -> Iterator[bytes]:
        for number in range(self._num_segments):
            try:
                yield self._cipher.open(_read_at(self._file, stored_offset(number), FRAME), number, is_last=False)
            except CannotOpen:
                self._num_segments, self._pending, self._last_bytes = number, b"", None
                self._file.truncate(stored_offset(number))
                return
        if self._last_bytes is not None:  # opened once already, when the file was
            frame = _read_at(self._file, stored_offset(self._num_segments), self._last_bytes + OVERHEAD)
            yield self._cipher.open(frame, self._num_segments, is_last=True)
        elif self._pending:
            yield self._pending

    def flush(self) -> None:
        if self._is_discarded:
            return
        os.fsync(self._file.fileno())
        if self._pending and self._last_bytes is None:
            fresh = self._path.with_name(f"{self._path.name}{TAIL}.new")
            with fresh.open("wb") as file:
                file.write(self._cipher.seal_tail(self._pending, self._num_segments))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(_tail_of(self._path))
            fsync(self._path.parent)

    def finish(self, sha256: str) -> None:
        if self._last_bytes is None:
            try:
                self._write(self._pending, is_last=True)
            except OSError:
                self._file.truncate(stored_offset(self._num_segments))
                raise
            self._last_bytes, self._pending = len(self._pending), b""
        blob_key = self._keys.for_upload(self._owner, sha256)
        if self._blob_key is None:  # of a digest that was not known before
            self.write_header(blob_key, sha256)
        elif blob_key != self._blob_key:  # the upload took so long that its key was forgotten as one of nothing
            raise Unavailable("the key of this object was replaced while it was being sent; send it again")
        os.fsync(self._file.fileno())

    def published(self, sha256: str) -> None:
        _tail_of(self._path).unlink(missing_ok=True)
        self.on_published(sha256)

    def discard(self) -> None:
        self._is_discarded = True
        self._path.unlink(missing_ok=True)
        _tail_of(self._path).unlink(missing_ok=True)

    def write_header(self, blob_key: bytes, sha256: str) -> None:
        write_at(self._file, 0, self._cipher.header(blob_key, sha256))
        self._blob_key = blob_key

    def recover(self, blob_key: bytes) -> None:
        """Finds out how far the file got, and cuts off what is torn."""
        self._blob_key = blob_key
        self._num_segments, self._last_bytes = _whole_segments(self._file, self._cipher)
        if self._last_bytes is None:
            self._file.truncate(stored_offset(self._num_segments))
            self._pending = _open_tail(self._path, self._cipher, self._num_segments)

    def _write(self, data: bytes | memoryview, *, is_last: bool) -> None:
        write_at(self._file, stored_offset(self._num_segments), self._cipher.seal(data, self._num_segments, is_last=is_last))


class SealedContents:
    """``on_published`` hears of every digest whose encrypted bytes have their place."""

    def __init__(self, keys: BlobKeys, on_published: Callable[[str], None]) -> None:
        self._keys = keys
        self._on_published = on_published

    def resume(self, file: FileIO, path: Path, owner: str, sha256: str) -> Content:
        blob_key = self._keys.for_upload(owner, sha256)
        try:
            content = self._new(file, path, owner, FileCipher.of(_read_at(file, 0, HEADER), blob_key, sha256))
            content.recover(blob_key)
        except CannotOpen:  # new, torn at its birth, or under a key that was forgotten meanwhile
            file.truncate(0)
            content = self._new(file, path, owner, FileCipher.fresh())
            content.write_header(blob_key, sha256)
        return content

    def fresh(self, file: FileIO, path: Path, owner: str) -> Content:
        return self._new(file, path, owner, FileCipher.fresh())

    def durable_bytes(self, path: Path, owner: str, sha256: str) -> int:
        with FileIO(path) as file:
            os.fsync(file.fileno())
            try:
                cipher = FileCipher.of(_read_at(file, 0, HEADER), self._keys.for_upload(owner, sha256), sha256)
            except CannotOpen:
                return 0
            num_segments, last_bytes = _whole_segments(file, cipher)
            tail = len(_open_tail(path, cipher, num_segments)) if last_bytes is None else last_bytes
            return num_segments * SEGMENT + tail

    def _new(self, file: FileIO, path: Path, owner: str, cipher: FileCipher) -> SealedContent:
        content = SealedContent(file, path, cipher, self._keys, owner)
        content.on_published = self._on_published
        return content


def _whole_segments(file: FileIO, cipher: FileCipher) -> tuple[int, int | None]:
    """How many segments that are not the last one the file holds, and how many plain bytes the last one has, if it is there.

    A write that a power cut undid may leave anything at the end, so segments count from the last one that opens.
    """
    number, rest = divmod(max(os.fstat(file.fileno()).st_size - HEADER, 0), FRAME)
    if rest >= OVERHEAD and _opens(file, cipher, number, rest, is_last=True):
        return number, rest - OVERHEAD
    while number > 0 and not _opens(file, cipher, number - 1, FRAME, is_last=False):
        number -= 1
        if _opens(file, cipher, number, FRAME, is_last=True):
            return number, SEGMENT
    return number, None


def _opens(file: FileIO, cipher: FileCipher, number: int, size: int, *, is_last: bool) -> bool:
    with contextlib.suppress(CannotOpen):
        cipher.open(_read_at(file, stored_offset(number), size), number, is_last=is_last)
        return True
    return False


def _open_tail(path: Path, cipher: FileCipher, number: int) -> bytes:
    """The bytes that were left over behind ``number`` segments; none when there is no tail, or an older one."""
    with contextlib.suppress(FileNotFoundError, CannotOpen):
        return cipher.open_tail(_tail_of(path).read_bytes(), number)
    return b""


def _tail_of(path: Path) -> Path:
    return path.with_name(path.name + TAIL)


def _read_at(file: FileIO, offset: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.pread(file.fileno(), size, offset)
        if not part:
            break
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)
