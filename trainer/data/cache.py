"""Prepared data that jobs of a node share: each folder is made once, named after all that decides its content.

Beside the folder ``K`` of an entry lie ``.K.lock``, held by the one who builds it, and ``.K.use``, share-locked by every
rank that reads it and touched when it begins to: nobody removes an entry whose ``.use`` is locked, and the one that was
touched longest ago goes first. A folder is built beside its place, sealed, and renamed: what a killed builder leaves is
never taken for an entry.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.file_locks import open_locked, try_lock
from core.manifest import ManifestError, read_manifest, seal, sha256_of
from trainer.errors import PeerLost
from trainer.signs_of_life import signs_of_life
from trainer.state import Run

CACHE_FORMAT = 1  # part of every key: another number makes all that was prepared before unknown
POLL_SECONDS = 0.1
DIGEST = "digest"

_IN_USE: list[int] = []  # descriptors, whose locks last as long as this process


def prepared(run: Run, key: dict[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder that ``build`` fills when it is given an empty one. A collective.

    ``key`` is JSON and holds everything that the content depends on: ``content_digest`` of the data, knobs, the version of
    the recipe's own format. Rank 0 builds, under a lock that other jobs wait for; the other ranks wait for it. What
    ``build`` raises is raised on rank 0, and PeerLost on the others.
    """
    root = cache_root(run)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = root / entry_name(key)
    _use(folder)
    failure: Exception | None = None
    if run.ranks.is_first:
        try:
            _ensure(run, folder, key, build)
        except Exception as error:  # why: the other ranks must not wait for a folder that will never be there
            failure = error
    if not run.ranks.all_agree(failure is None):
        raise failure or PeerLost("rank 0 could not prepare the data")
    return folder


def cache_root(run: Run) -> Path:
    return Path(run.file.cache_dir) if run.file.cache_dir is not None else run.dir.scratch / "prepared"


def entry_name(key: dict[str, Any]) -> str:
    text = json.dumps({"format": CACHE_FORMAT, **key}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_whole(folder: Path) -> bool:
    """Whether every file is there in its size. The bytes themselves are not read again: a second job starts at once."""
    try:
        return all((folder / file.path).stat().st_size == file.size for file in read_manifest(folder).files)
    except (ManifestError, OSError):
        return False


def content_digest(root: Path) -> str:
    """SHA-256 over names and bytes of a file, or of all files below a folder."""
    if root.is_file():
        return sha256_of(root)
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(root).as_posix()}\0{sha256_of(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def data_digest(run: Run) -> str:
    """``content_digest`` of the job's dataset. A collective.

    Its bytes are read once, on rank 0: as long as no file below it changes its name, size, inode or times, later jobs
    take the digest from the cache.
    """
    root = Path(run.file.data_dir or run.dir.scratch)
    return (prepared(run, _digest_key(root), lambda folder: _write_digest(folder, root)) / DIGEST).read_text()


def known_digest(run: Run) -> str | None:
    """The same when an earlier call, of this job or another, has left it in the cache. No collective."""
    if run.file.data_dir is None:
        return None
    folder = cache_root(run) / entry_name(_digest_key(Path(run.file.data_dir)))
    return (folder / DIGEST).read_text() if is_whole(folder) else None


def _digest_key(root: Path) -> dict[str, Any]:
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    seen = [(str(path), (stat := path.stat()).st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns) for path in files]
    return {"files": hashlib.sha256(repr(seen).encode("utf-8", "surrogateescape")).hexdigest()}


def _write_digest(folder: Path, root: Path) -> None:
    (folder / DIGEST).write_text(content_digest(root))


def _ensure(run: Run, folder: Path, key: dict[str, Any], build: Callable[[Path], None]) -> None:
    if is_whole(folder):
        return
    with _alone(run, folder):
        if is_whole(folder):
            return
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        part.mkdir(mode=0o700)
        try:
            with signs_of_life(run):
                build(part)
                seal(part, {"key": key})
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _use(folder: Path) -> None:
    """Keeps the entry from being removed while this process lives. Waits for one who is removing it."""
    descriptor = open_locked(folder.with_name(f".{folder.name}.use"), shared=True)
    os.utime(descriptor)
    _IN_USE.append(descriptor)


@contextmanager
def _alone(run: Run, folder: Path) -> Iterator[None]:
    """One builder at a time; whoever waits is not hung, for the kernel frees the lock of one that dies."""
    with folder.with_name(f".{folder.name}.lock").open("ab") as file:
        pause = threading.Event()
        while not try_lock(file.fileno()):
            run.report.progress()
            pause.wait(POLL_SECONDS)
        yield
