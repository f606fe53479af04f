"""Where things lie on a node: run directories, caches, locks. One node, one folder, on a local file system."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from core.file_locks import open_locked
from core.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class NodeDir:
    """Names below ``work_dir``, which has to be absolute: supervisors and ranks have working directories of their own."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> "NodeDir":
        node_dir = cls(root.absolute())
        for folder in (node_dir.root, node_dir.jobs, node_dir.cache, node_dir.running):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return node_dir

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def cache(self) -> Path:
        """Datasets, models, environments and prepared data, by content; shared by jobs, and kept in bounds by ``cache_pruning``."""
        return self.root / "cache"

    @property
    def prepared(self) -> Path:
        """What ranks have made of datasets, for later jobs: see ``trainer/data/cache.py``."""
        return self.cache / "prepared"

    @property
    def predictions(self) -> Path:
        """Short-lived files of models that are tried out."""
        return self.root / "predictions"

    @property
    def running(self) -> Path:
        """One file for each live supervisor, locked by it."""
        return self.root / "running"

    @property
    def device_locks(self) -> Path:
        return self.root / "devices.lock"

    @property
    def node_lock(self) -> Path:
        return self.root / "node.lock"

    @property
    def leaving(self) -> Path:
        """There while the node is being drained by its own parent."""
        return self.root / "leaving"

    @property
    def pad_socket(self) -> Path:
        return self.root / "pad.sock"

    def run_dir(self, job_id: str, attempt: int) -> RunDir:
        return RunDir(self.jobs / job_id / f"a{attempt}")

    def earlier_run_dirs(self, job_id: str, attempt: int) -> list[RunDir]:
        """Of the attempts before this one that ran here, the newest first."""
        numbers = [int(path.name[1:]) for path in (self.jobs / job_id).glob("a*") if path.name[1:].isdecimal()]
        return [self.run_dir(job_id, number) for number in sorted(numbers, reverse=True) if number < attempt]

    @contextmanager
    def announced(self, job_id: str, attempt: int) -> Iterator[None]:
        """While entered, everybody on this node sees that a supervisor of the job lives; ``kill -9`` ends that too."""
        path = self.running / f"{job_id}.{attempt}"
        # Before it is locked it may be taken for a dead supervisor's and removed.
        with open(open_locked(path), "r+b") as file:
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def running_jobs(self) -> set[str]:
        """Jobs that have a live supervisor here."""
        return {path.name.rpartition(".")[0] for path in self._announcements()}

    def supervisors(self) -> list[int]:
        """Pids of the live supervisors."""
        found = []
        for path in self._announcements():
            with suppress(FileNotFoundError, ValueError):  # it ends, or has only begun
                found.append(int(path.read_text()))
        return found

    def _announcements(self) -> list[Path]:
        found = []
        for path in self.running.iterdir():
            with suppress(FileNotFoundError):
                if _is_locked(path):
                    found.append(path)
        return found

    def prune_runs(self, older_than: timedelta) -> list[str]:
        """Removes run directories of jobs that nothing has happened to for so long; returns the jobs.

        For the node's own thread alone: it also clears away what killed supervisors have left in ``running``.
        """
        for path in self.running.iterdir():
            with suppress(FileNotFoundError):
                _remove_if_dead(path)
        running = self.running_jobs()
        deadline = time.time() - older_than.total_seconds()
        gone = [folder for folder in self.jobs.iterdir() if folder.name not in running and _newest_change(folder) < deadline]
        for folder in gone:
            shutil.rmtree(folder, ignore_errors=True)
        return [folder.name for folder in gone]


def _newest_change(folder: Path) -> float:
    try:
        return max((path.stat().st_mtime for path in (folder, *folder.iterdir())), default=0.0)
    except FileNotFoundError:
        return time.time()


def _is_locked(path: Path) -> bool:
    """Whether a live supervisor holds the file. Lookers share their lock, so that none takes another for a supervisor."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _remove_if_dead(path: Path) -> None:
    """Removes what a killed supervisor has left. Only one process of a node does this: two could remove a newer file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        path.unlink(missing_ok=True)
