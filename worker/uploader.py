"""Uploads the files of a manifest as blobs: resumable, interruptible, from files that were opened before they can be pruned."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

from core.errors import DigestMismatch, StorageFull
from core.inside import open_inside
from core.manifest import Manifest, ManifestFile
from core.wire.worker import DirectPut
from worker.api_client import ApiRefused, ApiUnreachable, AttemptApi
from worker.patience import GaveUp, Patience

CHUNK = 1 << 20
OPEN_AT_ONCE = 256  # of 1,024 that Linux allows a process by default
# Larger objects are asked for before they are sent: the store may have them, or a part of them.
ASK_FIRST_BYTES = 1 << 20
# With the longest pauses between: somebody has about ten minutes to make space.
TIMES_FULL = 200


class FileChanged(Exception):
    """A file does not have the bytes that its manifest names."""


class StoreIsFull(Exception):
    """The store has had no space for a long time. An API that is merely away is waited for."""


class OpenFiles:
    """The files of a manifest, all open: what is unlinked meanwhile stays readable. FileNotFoundError when one is gone already.

    A process may only have so many open: of a package of thousands of images the later ones are opened when their turn comes.
    """

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self._root = root
        self._now, self._later = manifest.files[:OPEN_AT_ONCE], manifest.files[OPEN_AT_ONCE:]
        self._stack = ExitStack()
        self._files: list[tuple[ManifestFile, BinaryIO]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._files = [(entry, stack.enter_context(self._open(entry))) for entry in self._now]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[tuple[ManifestFile, BinaryIO]]:
        yield from self._files
        for entry in self._later:
            with self._open(entry) as file:
                yield entry, file

    def _open(self, entry: ManifestFile) -> BinaryIO:
        try:
            return open_inside(self._root, self._root / entry.path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FileChanged(str(error)) from error


class Uploader:
    """``stopped`` interrupts an upload between two files or two chunks of a large one, with GaveUp."""

    def __init__(self, api: AttemptApi, patience: Patience, stopped: threading.Event) -> None:
        self._api = api
        self._patience = patience
        self._stopped = stopped

    def upload(self, files: OpenFiles, *, only: frozenset[str] | None = None, max_tries: int | None = None) -> None:
        """Every file, or those with a SHA-256 in ``only``. FileChanged, GaveUp; ApiUnreachable after ``max_tries`` of one file."""
        done: set[str] = set()
        for entry, file in files:
            if self._stopped.is_set():
                raise GaveUp
            if entry.sha256 not in done and (only is None or entry.sha256 in only):
                upload = _Upload(self._api, entry, file, self._stopped)
                while not self._patience.keep_trying(upload.go_on, max_tries=max_tries):
                    pass
                done.add(entry.sha256)


class _Upload:
    """One object on its way; ``offset`` is None while it has to be asked for."""

    def __init__(self, api: AttemptApi, entry: ManifestFile, file: BinaryIO, stopped: threading.Event) -> None:
        self._api = api
        self._entry = entry
        self._file = file
        self._stopped = stopped
        self._times_full = 0
        self._offset: int | None = None if entry.size > ASK_FIRST_BYTES else 0

    def go_on(self) -> bool:
        """Sends what the store does not have; whether it has the whole object now."""
        if self._offset is None:
            status = self._api.uploaded(self._entry.sha256, size=self._entry.size)
            if status.is_complete or (status.direct is not None and self._put_directly(status.direct)):
                return True
            self._offset = status.offset
        # Unless there is an answer, nobody knows how much of this arrived; it is durable, and not sent again.
        offset, self._offset = self._offset, None
        try:
            reply = self._api.put_blob(self._entry.sha256, self._chunks(offset), offset=offset, size=self._entry.size)
        except ApiRefused as error:
            self._offset = self._resume_at(error)
            return False
        except ApiUnreachable as error:
            self._note_full_store(error)
            raise
        self._offset = reply.offset
        return reply.is_complete

    def _put_directly(self, place: DirectPut) -> bool:
        try:
            return self._api.put_directly(place, self._entry.sha256, self._chunks(0), size=self._entry.size)
        except ApiRefused as error:
            self._resume_at(error)
            return False

    def _note_full_store(self, error: ApiUnreachable) -> None:
        self._times_full += error.code == StorageFull.code
        if self._times_full >= TIMES_FULL:
            raise StoreIsFull(str(error)) from error

    def _chunks(self, offset: int) -> Iterator[bytes]:
        self._file.seek(offset)
        while offset < self._entry.size:
            if offset and self._stopped.is_set():
                raise GaveUp
            chunk = self._file.read(min(CHUNK, self._entry.size - offset))
            if not chunk:
                raise FileChanged(f"{self._entry.path} ends after {offset} of {self._entry.size} bytes")
            offset += len(chunk)
            yield chunk

    def _resume_at(self, error: ApiRefused) -> int:
        if error.code == DigestMismatch.code:
            raise FileChanged(f"{self._entry.path} does not have the SHA-256 of its manifest") from error
        if error.expected_offset is None:
            raise error
        return error.expected_offset
