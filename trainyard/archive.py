"""Downloads all artifacts of a job as one archive: whole, every file in it verified, and in place by one rename, or not there at all.

The server makes an archive while it sends it, so a broken one cannot be gone on with: it begins anew, and what had come of it
is thrown away. ``trainyard.downloads`` fetches the files one by one, and goes on.
"""

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import httpx2

from core.wire.jobs import Artifact
from trainyard.downloads import Advance, short_name
from trainyard.errors import CannotConnect, DownloadFailed
from trainyard.transport import Call, Transport

PIECE = 1 << 20

ArchiveKind = Literal["tar", "zip"]


@dataclass(frozen=True, slots=True)
class RemoteArchive:
    """``size`` as the server announced it with the answer, 0 where it did not."""

    path: str
    size: int


def download_archive(
    transport: Transport, artifacts: Sequence[Artifact], target: Path, kind: ArchiveKind, advance: Advance | None = None
) -> None:
    """The artifacts, all of one attempt, as the file ``target``. Raises DownloadFailed, ApiError, CannotConnect."""
    part = target.with_name(f".{short_name(target.name)}.{kind}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _complete(transport, artifacts[0], part, kind, advance or (lambda file, num_bytes: None))
            _verify(part, kind, artifacts)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadFailed(f"cannot write {target}: {error}") from error


def _complete(transport: Transport, first: Artifact, part: Path, kind: ArchiveKind, tell: Advance) -> None:
    """Over as many connections as it takes, each from the first byte on."""
    failures = 0
    while True:
        # O_NOFOLLOW: a link under this name would make us write elsewhere.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            try:
                _receive(transport, first, file, kind, tell)
            except httpx2.TransportError as error:
                trouble = f"{file.tell():,} bytes had come: {str(error) or type(error).__name__}"
            else:
                file.flush()
                os.fsync(file.fileno())
                return
        failures += 1
        delay = transport.retry.delay(failures)
        if delay is None:
            raise CannotConnect(
                f"the archive of {first.job_id} broke off {failures} times, at last when {trouble}. Nothing of it is kept, for an archive "
                "always begins anew; a download of the files one by one goes on where it broke off"
            )
        transport.sleep(delay)


def _receive(transport: Transport, first: Artifact, file: IO[bytes], kind: ArchiveKind, tell: Advance) -> None:
    params = {"format": kind, "attempt": first.attempt}
    # Not compressed on the way: the announced length is that of the archive.
    call = Call(method="GET", path=f"/v1/jobs/{first.job_id}/archive", params=params, headers={"Accept-Encoding": "identity"})
    with transport.stream(call) as response:
        remote = RemoteArchive(f"{first.job_id}.{kind}", int(response.headers.get("content-length", 0)))
        for chunk in response.iter_raw():
            file.write(chunk)
            tell(remote, file.tell())


def _verify(path: Path, kind: ArchiveKind, artifacts: Sequence[Artifact]) -> None:
    """DownloadFailed unless it holds exactly these files, each with its SHA-256."""
    wanted = {f"{item.job_id}/{item.path}": item.sha256 for item in artifacts}
    try:
        for name, content in (_tar_members if kind == "tar" else _zip_members)(path):
            if _sha256(content) != wanted.pop(name, None):
                raise DownloadFailed(f"{name} in the archive is not what the server announced; it is damaged on the server or on the way")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise DownloadFailed(f"the archive cannot be read: {error}; it is damaged on the server or on the way") from error
    if wanted:
        raise DownloadFailed(f"the archive lacks {next(iter(wanted))} and {len(wanted) - 1} more of the files that the server announced")


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := content.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _tar_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is None:
                raise DownloadFailed(f"{member.name} in the archive is no regular file")
            with content:
                yield member.name, content


def _zip_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with closing(archive.open(entry)) as content:
                yield entry.filename, content
