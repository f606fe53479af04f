"""Keeps a node's prepared data within its limit: what was used longest ago goes first, what is in use never.

``trainer/data/cache.py`` makes the entries and tells which files lie beside each; both sides know these names.
"""

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from core.manifest import ManifestError, read_manifest

log = logging.getLogger("trainyard.worker.cache")


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    num_bytes: int
    used_at: float  # Unix seconds


def prune_prepared(root: Path, max_bytes: int) -> list[str]:
    """Removes entries, the least recently used first, until the rest fits into ``max_bytes``, and what killed builders left.

    Returns the names of the entries that are gone. For the node's own thread alone.
    """
    entries = sorted((_entry(root, name) for name in _names(root)), key=lambda entry: entry.used_at)
    excess = sum(entry.num_bytes for entry in entries) - max_bytes
    gone = []
    for entry in entries:
        is_half = not (root / entry.name).is_dir()
        if (excess > 0 or is_half) and _remove(root, entry.name):
            excess -= entry.num_bytes
            gone += [] if is_half else [entry.name]
            log.info("removed prepared data", extra={"event": "cache.pruned", "entry": entry.name, "num_bytes": entry.num_bytes})
    return gone


def _names(root: Path) -> set[str]:
    if not root.is_dir():
        return set()
    return {path.name.removeprefix(".").partition(".")[0] for path in root.iterdir()}


def _entry(root: Path, name: str) -> Entry:
    try:
        num_bytes = read_manifest(root / name).num_bytes
    except ManifestError:
        num_bytes = sum(_size(path) for folder in (root / name, root / f".{name}.part") for path in folder.rglob("*"))
    used_at = 0.0
    with suppress(FileNotFoundError):
        used_at = (root / f".{name}.use").stat().st_mtime
    return Entry(name, num_bytes, used_at)


def _size(path: Path) -> int:
    """Of a file that a builder may be writing, or may have renamed."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def _remove(root: Path, name: str) -> bool:
    """Whether the entry could be removed. The lock comes last, so that a rank which opens a new one finds nothing beside it."""
    with _unused(root / f".{name}.use") as is_free:
        if is_free:
            for path in (root / name, root / f".{name}.part"):
                shutil.rmtree(path, ignore_errors=True)
            for path in (root / f".{name}.lock", root / f".{name}.use"):
                path.unlink(missing_ok=True)
    return is_free


@contextmanager
def _unused(lock: Path) -> Iterator[bool]:
    """Whether no rank reads or builds the entry; while entered, none begins to."""
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
