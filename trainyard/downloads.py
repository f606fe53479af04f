"""Downloads files into a folder: each file whole, verified and in place by one rename, or not there at all.

What has arrived of a file waits beside its place as ``.<name>.<first digits of its SHA-256>.part``, so that the next try,
of this process or a later one, goes on from there. Names come from the server and are not trusted.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import httpx2

from core.manifest import check_relative_path, sha256_of
from core.wire.jobs import Artifact
from trainyard.errors import ApiError, CannotConnect, DownloadFailed, UnsafePath
from trainyard.transport import Call, Transport

RANGE_NOT_SATISFIABLE = 416
PARTIAL_CONTENT = 206


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What the server announced, and where it is: ``url`` is a path on the server, quoted."""

    path: str
    size: int
    sha256: str
    url: str


class Coming(Protocol):
    """What is on its way, as far as a bar needs to know: ``path`` is its name, ``size`` that of the whole."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...


Advance = Callable[[Coming, int], None]


def remote_artifact(artifact: Artifact) -> RemoteFile:
    url = f"/v1/jobs/{artifact.job_id}/artifacts/{quote(artifact.path)}"
    return RemoteFile(artifact.path, artifact.size, artifact.sha256, url)


@dataclass(frozen=True, slots=True)
class Download:
    """One file on its way: what the server announced, and where it goes."""

    file: RemoteFile
    target: Path

    @property
    def part(self) -> Path:
        return self.target.with_name(f".{short_name(self.target.name)}.{self.file.sha256[:12]}.part")

    @property
    def is_done(self) -> bool:
        target = self.target
        is_file = target.is_file() and not target.is_symlink()
        return is_file and target.stat().st_size == self.file.size and sha256_of(target) == self.file.sha256


def download_all(transport: Transport, files: Iterable[RemoteFile], folder: Path, advance: Advance | None = None) -> list[Path]:
    """Every file, verified, below ``folder``; those that are there already are left alone.

    ``advance(file, num_bytes)`` hears how many bytes of a file are there. Raises DownloadFailed, ApiError, CannotConnect.
    """
    downloads = [Download(file, safe_target(folder, file.path)) for file in files]
    tell = advance or (lambda file, num_bytes: None)
    try:
        for download in downloads:
            if not download.is_done:
                _fetch(transport, download, tell)
            tell(download.file, download.file.size)
    except OSError as error:
        raise DownloadFailed(f"cannot write below {folder}: {error}") from error
    return [download.target for download in downloads]


def safe_target(folder: Path, path: str) -> Path:
    """Where a file of this name goes; UnsafePath when that is not inside ``folder``, through links or otherwise."""
    try:
        check_relative_path(path)
    except ValueError as error:
        raise UnsafePath(f"the server names a file {path!r}, which is refused: {error}") from None
    root = folder.resolve()
    target = root.joinpath(*path.split("/"))
    if target.parent.resolve() != target.parent:
        raise UnsafePath(f"{path!r} leads through a link inside {folder}, which is refused")
    return target


def _fetch(transport: Transport, download: Download, tell: Advance) -> None:
    """The file in its place. A wrong digest is answered by one more try from the first byte on."""
    download.target.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        digest = _complete_part(transport, download, tell)
        if digest == download.file.sha256:
            os.replace(download.part, download.target)
            return
        download.part.unlink()
    raise DownloadFailed(
        f"{download.file.path}: the bytes have SHA-256 {digest}, the server announced {download.file.sha256}; "
        "they are damaged on the server or on the way"
    )


def _complete_part(transport: Transport, download: Download, tell: Advance) -> str:
    """Brings the part to its full size over as many connections as it takes; its SHA-256."""
    size = download.file.size
    # O_NOFOLLOW: a link under this name would make us write elsewhere.
    descriptor = os.open(download.part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        part = _Part(file)
        furthest, failures = part.size, 0
        while part.size != size:
            try:
                _receive(transport, download, part, tell)
                trouble = f"the server ended after {part.size} of {size} bytes"
            except httpx2.TransportError as error:
                trouble = str(error) or type(error).__name__
            if part.size == size:
                break
            failures = 1 if part.size > furthest else failures + 1
            furthest = max(part.size, furthest)
            delay = transport.retry.delay(failures)
            if delay is None:
                raise CannotConnect(f"{download.file.path}: {trouble}; run the same again to go on from here")
            transport.sleep(delay)
        part.make_durable()
        return part.digest.hexdigest()


class _Part:
    """A file that grows at its end, and the digest of what is in it."""

    def __init__(self, file: BufferedRandom) -> None:
        self._file = file
        self.digest = hashlib.file_digest(file, "sha256")
        self.size = file.seek(0, os.SEEK_END)

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.digest = hashlib.sha256()
        self.size = 0

    def make_durable(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _receive(transport: Transport, download: Download, part: _Part, tell: Advance) -> None:
    """One answer's bytes onto the part. If-Range makes the server send the whole file when it is not the same any more."""
    announced = download.file
    if part.size > announced.size:
        part.restart()
    wanted = {"Range": f"bytes={part.size}-", "If-Range": f'"{announced.sha256}"'} if part.size else {}
    call = Call(method="GET", path=announced.url, headers={"Accept-Encoding": "identity", **wanted})
    try:
        with transport.stream(call) as response:
            if response.status_code != PARTIAL_CONTENT or not _starts_at(response, part.size):
                part.restart()
            if wanted and response.status_code == PARTIAL_CONTENT and not part.size:
                return  # another range than was asked for: the next request asks for everything
            # As they come: bytes that wait for a chunk to fill up would be lost when the connection breaks.
            for chunk in response.iter_raw():
                if part.size + len(chunk) > announced.size:
                    part.restart()
                    raise DownloadFailed(f"{announced.path}: the server sends more than the {announced.size} bytes that it announced")
                part.append(chunk)
                tell(announced, part.size)
    except ApiError as error:
        if error.status != RANGE_NOT_SATISFIABLE:
            raise
        part.restart()


def short_name(name: str) -> str:
    """So many of its characters that a name made from it is not too long for a disk."""
    return name.encode()[:200].decode(errors="ignore")


def _starts_at(response: httpx2.Response, offset: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {offset}-")
