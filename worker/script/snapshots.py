"""Checkpoints of scripts that write to a folder as they like: a copy, sealed, whenever the folder has come to rest.

The other way is ``trainyard.run.save_checkpoint``, which seals by itself; a script that uses it is left alone here.
"""

import os
import shutil
import stat
import threading
import time
from pathlib import Path

from core.inside import open_inside
from core.manifest import read_manifest, seal
from core.run_dir import RunDir
from worker.resume import ResumePoint, step_of

# A file that was written so long ago is taken for finished. Writers rename in the end, or write faster than this.
REST_SECONDS = 2.0
KEPT = 2
COPY_BYTES = 1 << 20
META = {"kind": "folder"}

Fingerprint = tuple[tuple[str, int, int], ...]


def restore(point: ResumePoint, folder: Path) -> Path:
    """Where the script finds its checkpoint: the sealed folder itself, or ``folder``, filled as it was when the copy was made."""
    manifest = read_manifest(point.folder)
    if manifest.meta.get("kind") != META["kind"]:
        return point.folder
    for file in manifest.files:
        path = folder / file.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy2(point.folder / file.path, path, follow_symlinks=False)
    return folder


class FolderCheckpoints:
    """``look`` now and then, from any thread; after the one that ``is_over`` it does nothing more."""

    def __init__(self, root: Path, folder: Path, run_dir: RunDir) -> None:
        self._root = root  # below it, the script may have put links in the way
        self._folder = folder
        self._run_dir = run_dir
        self._copied: Fingerprint = ()
        self._seen: Fingerprint = ()
        self._last_step = 0
        self._ours: set[str] = set()
        self._lock = threading.Lock()
        self._is_over = False

    def begin(self, resumed_from: int | None) -> None:
        """What lies in the folder now is an earlier attempt's."""
        self._copied = self._seen = _fingerprint(self._folder)
        self._last_step = resumed_from or 0

    def look(self, step: int = 0, *, is_over: bool = False, is_whole: bool = False) -> None:
        """``step``: how far the script is known to be. Steps of copies rise by one at least.

        ``is_whole``: the script has left in order, so that no file of its is half written, however young.
        """
        with self._lock:
            if not self._is_over:
                self._is_over = is_over
                self._look(step, is_whole=is_whole)

    def _look(self, step: int, *, is_whole: bool) -> None:
        if any(path.name not in self._ours for path in self._run_dir.complete_checkpoints()):
            return
        found, before = _fingerprint(self._folder), self._seen
        self._seen = found
        if not found or found == self._copied or not (self._is_over or found == before):
            return
        if not is_whole and not _is_at_rest(found):
            return
        self._copy(found, max(step, self._last_step + 1))

    def _copy(self, found: Fingerprint, step: int) -> None:
        part = self._run_dir.checkpoints / f".tmp-step-{step}"
        shutil.rmtree(part, ignore_errors=True)
        try:
            for name, _, _ in found:
                target = part / name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._copy_file(self._folder / name, target)
            seal(part, META)
        except OSError:  # it is gone, or something else is in its place
            shutil.rmtree(part, ignore_errors=True)
            return
        if _fingerprint(self._folder) != found:  # it was written to meanwhile
            shutil.rmtree(part, ignore_errors=True)
            return
        complete = self._run_dir.checkpoint(step)
        part.rename(complete)
        self._ours.add(complete.name)
        self._copied, self._last_step = found, step
        for old in sorted(self._run_dir.complete_checkpoints(), key=step_of, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def _copy_file(self, source: Path, target: Path) -> None:
        with open_inside(self._root, source) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy, COPY_BYTES)
            status = os.fstat(file.fileno())
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _is_at_rest(found: Fingerprint) -> bool:
    return time.time() - max(changed for _, _, changed in found) / 1e9 >= REST_SECONDS


def _fingerprint(root: Path) -> Fingerprint:
    """Name, size and time of change (ns) of every regular file."""
    found = []
    for folder, _, files in os.walk(root):
        for path in (Path(folder, name) for name in files):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                found.append((path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))
