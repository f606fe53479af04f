"""One upload on its way: a staging file that is only ever appended to, and the running digest of the plain bytes in it."""

import fcntl
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Protocol

from core.artifacts.content import Content, Contents
from core.errors import DigestMismatch, InvalidInput, UploadInProgress

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\.[0-9a-f]{64}")
_REMEMBERED = 256  # digests of interrupted uploads; a forgotten one costs a second read of the staged bytes


class Digest(Protocol):
    """What ``hashlib.sha256()`` gives."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class UploadKey:
    """Whose upload of which object: two attempts, or two projects, never share a staging file."""

    owner: str
    sha256: str

    @property
    def name(self) -> str:
        name = f"{self.owner}.{self.sha256}"
        if not _NAME.fullmatch(name):
            raise ValueError("not an upload key")
        return name


@dataclass(slots=True)
class Digests:
    """Running digests of interrupted uploads, so that a resumed one does not read its first bytes again."""

    known: OrderedDict[str, tuple[int, Digest]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, name: str, offset: int) -> Digest | None:
        with self.lock:
            known_offset, digest = self.known.pop(name, (-1, None))
        return digest if known_offset == offset else None

    def keep(self, name: str, offset: int, digest: Digest) -> None:
        with self.lock:
            self.known[name] = (offset, digest)
            while len(self.known) > _REMEMBERED:
                self.known.popitem(last=False)


class Upload:
    """An open staging file, held by one request at a time on this machine (a kernel lock says so)."""

    def __init__(self, content: Content, key: UploadKey, size: int, digest: Digest) -> None:
        self._content = content
        self._key = key
        self._digest = digest
        self.size = size

    @classmethod
    @contextmanager
    def open(cls, path: Path, key: UploadKey, size: int, digests: Digests, contents: Contents) -> Iterator["Upload"]:
        """Holds the upload; when released, whatever was written is durable and the next request can go on from there."""
        with _locked(path) as file:
            content = contents.resume(file, path, key.owner, key.sha256)
            staged = content.num_bytes
            if staged > size:
                raise InvalidInput(f"{staged} bytes of this blob were uploaded already, more than its size of {size}", param="size")
            upload = cls(content, key, size, digests.take(key.name, staged) or _digest_of(content))
            try:
                yield upload
            finally:
                content.flush()
                digests.keep(key.name, upload.offset, upload._digest)

    @property
    def offset(self) -> int:
        return self._content.num_bytes

    @property
    def is_whole(self) -> bool:
        return self.offset == self.size

    def write(self, data: bytes) -> None:
        """Appends; InvalidInput past the announced size. After an error the content ends where it did before."""
        if self.offset + len(data) > self.size:
            raise InvalidInput(f"the body goes on after the announced {self.size} bytes", param="size")
        self._content.append(data)
        self._digest.update(data)

    def check_digest(self) -> None:
        """Makes the bytes durable when they are the announced ones; else drops them and raises DigestMismatch."""
        if self._digest.hexdigest() != self._key.sha256:
            self._content.discard()
            raise DigestMismatch(f"the {self.size} bytes received have SHA-256 {self._digest.hexdigest()}")
        self._content.finish(self._key.sha256)

    def published(self) -> None:
        """The store has given the file its place."""
        self._content.published(self._key.sha256)


@contextmanager
def _locked(path: Path) -> Iterator[FileIO]:
    """The staging file, created if need be, with its lock; UploadInProgress while someone else has it."""
    while True:
        with FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UploadInProgress from None
            if not _is_at(path, file):  # finished or dropped between our open and our lock: it is not ours to write to
                continue
            yield file
            return


def _is_at(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _digest_of(content: Content) -> Digest:
    digest = hashlib.sha256()
    for chunk in content.chunks():
        digest.update(chunk)
    return digest
