"""Artifacts as one archive, made while it is sent: nothing is stored, memory is flat, and its length is known before the first byte."""

import hashlib
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence

from core.artifacts.store import ByteStore, Reader
from core.wire.jobs import Artifact

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)


class Archive(ABC):
    """The chunks of an archive of ``<folder>/<path>`` for each artifact, uncompressed. The same artifacts give the same bytes."""

    suffix: str
    media_type: str

    def __init__(self, store: ByteStore, folder: str, items: Sequence[Artifact]) -> None:
        self._store = store
        self._members = [(f"{folder}/{item.path}", item) for item in items]
        self._open: Reader | None = None
        self._chunks = self._generate()

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of the whole archive."""

    @property
    def etag(self) -> str:
        digest = hashlib.sha256()
        for name, item in self._members:
            digest.update(f"{name}\0{item.size}\0{item.sha256}\0".encode())
        return f'"{self.suffix}-{digest.hexdigest()}"'

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        self._chunks.close()
        if self._open is not None:
            self._open.close()

    @abstractmethod
    def _generate(self) -> Generator[bytes, None, None]: ...

    def _bytes_of(self, item: Artifact) -> Iterator[bytes]:
        self._open = self._store.read(item.sha256, 0, item.size)
        return self._open


class TarArchive(Archive):
    suffix = "tar"
    media_type = "application/x-tar"

    @property
    def size(self) -> int:
        return sum(len(_header(name, item.size)) + item.size + -item.size % _BLOCK for name, item in self._members) + len(_END)

    def _generate(self) -> Generator[bytes, None, None]:
        for name, item in self._members:
            yield _header(name, item.size)
            yield from self._bytes_of(item)
            if padding := -item.size % _BLOCK:
                yield bytes(padding)
        yield _END


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)  # an ordinary file of nobody, from 1970
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)
