"""A tar of artifacts, made while it is sent: nothing is stored, and its length is known before the first byte."""

import hashlib
import tarfile
from collections.abc import Generator, Iterator, Sequence

from core.artifacts.store import ByteStore, Reader
from core.wire.jobs import Artifact

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)


class Archive:
    """The chunks of an uncompressed tar: ``<folder>/<path>`` for each artifact. The same artifacts give the same bytes."""

    def __init__(self, store: ByteStore, folder: str, items: Sequence[Artifact]) -> None:
        self._store = store
        self._items = items
        self._headers = [_header(f"{folder}/{item.path}", item.size) for item in items]
        self._open: Reader | None = None
        self._chunks = self._generate()

    @property
    def size(self) -> int:
        return sum(len(header) + item.size + _padding(item.size) for header, item in zip(self._headers, self._items, strict=True)) + len(
            _END
        )

    @property
    def etag(self) -> str:
        digest = hashlib.sha256()
        for header, item in zip(self._headers, self._items, strict=True):
            digest.update(header + bytes.fromhex(item.sha256))
        return f'"tar-{digest.hexdigest()}"'

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        self._chunks.close()
        if self._open is not None:
            self._open.close()

    def _generate(self) -> Generator[bytes, None, None]:
        for header, item in zip(self._headers, self._items, strict=True):
            yield header
            self._open = self._store.read(item.sha256, 0, item.size)
            yield from self._open
            if padding := _padding(item.size):
                yield bytes(padding)
        yield _END


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)  # an ordinary file of nobody, from 1970
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> int:
    return -size % _BLOCK
