"""Keeps a node's cache within its limits: what was used longest ago goes first, what is in use never.

``worker/materialise.py``, ``worker/script/requirements.py`` and, for prepared data, ``trainer/data/cache.py`` make the entries; all of them
hold an entry by the lock file ``.K.use`` beside it while they make or read it, see ``worker/cache_use.py``.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from core.file_locks import try_lock
from core.manifest import ManifestError, read_manifest
from worker.verified import read_record

log = logging.getLogger("trainyard.worker.cache")

DOWNLOADED = ("versions", "models")  # what a broken download has left is gone on with
BUILT = ("environments", "prepared")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    max_bytes: int
    max_age: timedelta


@dataclass(frozen=True, slots=True)
class Entry:
    """``K`` in one folder of the cache; what lies beside it has its name with a dot before and behind."""

    path: Path
    num_bytes: int
    used_at: float  # Unix seconds
    is_useful: bool  # not only what a killed builder has left


def prune_cache(cache: Path, limits: CacheLimits) -> list[str]:
    """Removes what is older than the limit, then the least recently used until the rest fits; and what killed builders have left.

    Returns the names of the entries that are gone. For the node's own thread alone.
    """
    entries = sorted((entry for kind in (*DOWNLOADED, *BUILT) for entry in _entries(cache / kind)), key=lambda entry: entry.used_at)
    excess = sum(entry.num_bytes for entry in entries) - limits.max_bytes
    deadline = time.time() - limits.max_age.total_seconds()
    gone = []
    for entry in entries:
        is_due = excess > 0 or entry.used_at < deadline or not entry.is_useful
        if is_due and _remove(entry.path):
            excess -= entry.num_bytes
            gone += [entry.path.name] if entry.is_useful else []
            told = {"event": "cache.pruned", "kind": entry.path.parent.name, "entry": entry.path.name, "num_bytes": entry.num_bytes}
            log.info("removed from the cache", extra=told)
    return gone


def _entries(root: Path) -> list[Entry]:
    if not root.is_dir():
        return []
    names = {path.name.lstrip(".").partition(".")[0] for path in root.iterdir()}
    return [_entry(root / name) for name in names]


def _entry(path: Path) -> Entry:
    used_at = 0.0
    for file in (path, path.with_name(f".{path.name}.use")):  # the second is not there when an older version of the worker made the entry
        with suppress(FileNotFoundError):
            used_at = file.stat().st_mtime
    left = _log(path).exists() or (path.parent.name in DOWNLOADED and _part(path).exists())
    return Entry(path, _num_bytes(path), used_at, is_useful=path.is_dir() or left)


def _num_bytes(path: Path) -> int:
    """Without a look at every file, where something says it: a dataset may have 100,000 of them."""
    record = read_record(path)
    if record is not None and path.is_dir():
        return record.num_bytes
    try:
        return read_manifest(path).num_bytes
    except ManifestError:
        # os.walk passes over folders that a builder renames meanwhile; rglob would raise.
        walks = (walk for folder in (path, _part(path)) for walk in os.walk(folder))
        return sum(_size(Path(root, name)) for root, _, names in walks for name in names)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _remove(entry: Path) -> bool:
    """Whether the entry could be removed. The lock comes last, so that whoever opens a new one finds nothing beside it."""
    use = entry.with_name(f".{entry.name}.use")
    with _unused(use) as is_free:
        if is_free:
            for folder in (entry, _part(entry)):
                shutil.rmtree(folder, ignore_errors=True)
            beside = [path for pattern in (f".{entry.name}.*", f"..{entry.name}.*") for path in entry.parent.glob(pattern)]
            for path in (_log(entry), *(path for path in beside if path != use), use):
                path.unlink(missing_ok=True)
    return is_free


def _part(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}.part")


def _log(entry: Path) -> Path:
    """What pip said when an environment could not be made."""
    return entry.with_name(f"{entry.name}.log")


@contextmanager
def _unused(lock: Path) -> Iterator[bool]:
    """Whether nobody reads or makes the entry; while entered, nobody begins to."""
    with lock.open("ab") as file:
        yield try_lock(file.fileno())
