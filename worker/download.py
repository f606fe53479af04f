"""Downloads the files of a manifest into a folder, each verified by its SHA-256 before it gets its name."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from core.manifest import Manifest, ManifestFile, fsync, sha256_of
from worker.patience import Patience

MAX_WRONG = 2


class WrongBytes(Exception):
    """What was downloaded does not have the announced SHA-256, again and again."""


class Source(Protocol):
    """Where objects are read from."""

    def blob(self, sha256: str, *, start: int) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes of an object from ``start`` on."""


class Downloader:
    """Goes on where it was when the connection breaks."""

    def __init__(self, api: Source, patience: Patience) -> None:
        self._api = api
        self._patience = patience

    def fetch(self, manifest: Manifest, folder: Path) -> None:
        """Every file, below ``folder``. WrongBytes, or ApiRefused when the server does not have one."""
        for entry in manifest.files:
            path = folder / entry.path
            if path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256:
                continue
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fetch_one(entry, path)

    def _fetch_one(self, entry: ManifestFile, path: Path) -> None:
        part = path.with_name(f".{entry.sha256}.part")  # the name itself may be as long as a disk allows
        for _ in range(MAX_WRONG):
            part.unlink(missing_ok=True)
            part.touch(mode=0o600)
            self._patience.keep_trying(lambda: self._go_on(entry, part))
            if part.stat().st_size == entry.size and sha256_of(part) == entry.sha256:
                fsync(part)
                part.rename(path)
                return
        raise WrongBytes(f"{entry.path} did not arrive with its SHA-256")

    def _go_on(self, entry: ManifestFile, part: Path) -> None:
        start = part.stat().st_size
        if start >= entry.size:
            return
        with self._api.blob(entry.sha256, start=start) as pieces, part.open("ab") as file:
            for piece in pieces:
                file.write(piece)
