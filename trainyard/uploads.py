"""Uploads files under their SHA-256: what the server has of a file already is not sent again, however the last try ended."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.manifest import ManifestFile
from core.wire.base import UploadReply
from trainyard.errors import BadInput, CannotConnect, Conflict
from trainyard.transport import Call, Transport, read

CHUNK = 1 << 20
TRIES_WITHOUT_PROGRESS = 5
ASK_FIRST_BYTES = 1 << 20  # larger files are asked for before they are sent
Advance = Callable[[int], None]


def describe_file(path: Path, name: str, advance: Advance | None = None) -> ManifestFile:
    """The file as a manifest names it; it is read whole. ``advance`` hears how many bytes were read so far. BadInput for a bad name."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                if advance:
                    advance(size)
        return ManifestFile(path=name, size=size, sha256=digest.hexdigest())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise BadInput(f"{name!r} cannot be the name of a file here: {error}") from error


def upload_file(transport: Transport, path: Path, described: ManifestFile, advance: Advance | None = None) -> None:
    """Has the server hold these bytes for the project. ``advance`` hears how many bytes the server has, durably.

    Goes on after broken connections for as long as they bring bytes across. BadInput when the file has changed since it was described,
    ApiError and CannotConnect as everywhere.
    """
    tell = advance or (lambda num_bytes: None)
    try:
        with path.open("rb") as file:
            _send(transport, file, described, tell)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def _send(transport: Transport, file: BinaryIO, described: ManifestFile, tell: Advance) -> None:
    held = _held(transport, described) if described.size > ASK_FIRST_BYTES else UploadReply(offset=0, is_complete=False)
    num_failures = 0
    while not held.is_complete:
        tell(held.offset)
        try:
            reply = _put(transport, file, described, held.offset)
            num_failures = 0
        except (CannotConnect, Conflict) as error:
            if isinstance(error, Conflict) and error.code not in ("offset_mismatch", "upload_in_progress"):
                raise
            reply = _held(transport, described)
            num_failures = 0 if reply.offset > held.offset else num_failures + 1
            if num_failures == TRIES_WITHOUT_PROGRESS:
                raise
            transport.sleep(transport.retry.delay(num_failures or 1) or 0.0)
        held = reply
    tell(described.size)


def _held(transport: Transport, described: ManifestFile) -> UploadReply:
    return transport.get(UploadReply, f"/v1/uploads/{described.sha256}")


def _put(transport: Transport, file: BinaryIO, described: ManifestFile, offset: int) -> UploadReply:
    """One request with all that is missing. Where it broke off is asked for before the next one, so the transport does not repeat it."""
    call = Call(
        method="PUT",
        path=f"/v1/uploads/{described.sha256}",
        params={"offset": offset, "size": described.size},
        body=_Rest(file, described, offset),
        headers={"Content-Type": "application/octet-stream", "Content-Length": str(described.size - offset)},
        is_repeatable=False,
    )
    return read(UploadReply, transport.answer(call))


@dataclass(frozen=True, slots=True)
class _Rest:
    """The file from ``offset`` to its end, in chunks; from the start each time somebody iterates."""

    file: BinaryIO
    described: ManifestFile
    offset: int

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(self.offset)
        left = self.described.size - self.offset
        while left:
            chunk = self.file.read(min(CHUNK, left))
            if not chunk:
                raise BadInput(f"{self.described.path} has become shorter than its {self.described.size} bytes")
            left -= len(chunk)
            yield chunk
