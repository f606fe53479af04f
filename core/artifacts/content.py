"""What an upload writes into its staging file: the bytes as they are, or (``core/artifacts/sealed_content.py``) encrypted."""

import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Protocol

PIECE = 1 << 20  # bytes of one read


class Content(Protocol):
    """The plain bytes of one open staging file, which are only ever appended to."""

    @property
    def num_bytes(self) -> int:
        """Plain bytes so far."""

    def append(self, data: bytes) -> None:
        """After an OSError the content ends where it did before."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes so far, from the first on. What turns out to be damaged is dropped, with all that follows."""

    def flush(self) -> None:
        """Returns once all bytes so far would survive a power cut."""

    def finish(self, sha256: str) -> None:
        """The same for a whole object of this digest: the file is then what is published."""

    def published(self, sha256: str) -> None:
        """Called when the file has its place in the store."""

    def discard(self) -> None:
        """Removes the file and what belongs to it."""


class Contents(Protocol):
    """Makes contents; one per store."""

    def resume(self, file: FileIO, path: Path, owner: str, sha256: str) -> Content:
        """That of a staging file, which may be new, for the object of this digest."""

    def fresh(self, file: FileIO, path: Path, owner: str) -> Content:
        """That of an empty file whose digest will be known at its end."""

    def durable_bytes(self, path: Path, owner: str, sha256: str) -> int:
        """Plain bytes of a staging file that would survive a power cut. Takes no lock and changes nothing."""


class PlainContent:
    """The file is the content."""

    def __init__(self, file: FileIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.num_bytes = os.fstat(file.fileno()).st_size

    def append(self, data: bytes) -> None:
        try:
            write_at(self._file, self.num_bytes, data)
        except OSError:
            self._file.truncate(self.num_bytes)
            raise
        self.num_bytes += len(data)

    def chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(PIECE):
            yield chunk

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def finish(self, sha256: str) -> None:
        self.flush()

    def published(self, sha256: str) -> None:
        pass

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)


class PlainContents:
    def resume(self, file: FileIO, path: Path, owner: str, sha256: str) -> Content:
        return PlainContent(file, path)

    def fresh(self, file: FileIO, path: Path, owner: str) -> Content:
        return PlainContent(file, path)

    def durable_bytes(self, path: Path, owner: str, sha256: str) -> int:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size


def write_at(file: FileIO, offset: int, data: bytes | memoryview) -> None:
    """All of it, also where the system takes less at a time."""
    file.seek(offset)
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
