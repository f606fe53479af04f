"""What a script has left becomes artifacts: whatever lies in its output folders, and what is new or changed beside its code."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.manifest import check_relative_path, seal
from worker.script.layout import ScriptDirs

MAX_FILES = 5000
LEFT_OUT = frozenset({"__pycache__", ".git", ".cache", ".ipynb_checkpoints"})
Version = tuple[int, int, int]


@dataclass(slots=True)
class Gathered:
    """How many files became artifacts, and the names of those that could not."""

    num_files: int = 0
    refused: list[str] = field(default_factory=list)


class Harvest:
    """``remember`` before the script starts, ``gather`` when nothing of it runs any more."""

    def __init__(self, dirs: ScriptDirs, artifacts: Path, others: Mapping[str, Path] | None = None) -> None:
        self._dirs = dirs
        self._others = dict(others or {})  # further folders, by the name that they get among the artifacts
        self._artifacts = artifacts
        self._known: dict[str, Version] = {}

    def remember(self) -> None:
        """What lies beside the code now is the user's own already."""
        self._known = {name: version for name, version in _files(self._dirs.code) if version}

    def gather(self) -> Gathered:
        """Moves the files and seals them. Links and names that other systems could not have are refused and stay where they are."""
        dirs, gathered = self._dirs, Gathered()
        folders = {"model": dirs.model, "output": dirs.output_data, "intermediate": dirs.intermediate, "tensorboard": dirs.tensorboard}
        for prefix, folder in {**folders, **self._others, "workdir": dirs.code}.items():
            if not _is_real(folder, dirs.root.parent.parent):
                gathered.refused.append(prefix)
                continue
            for name, version in list(_files(folder)):
                if folder == dirs.code and self._known.get(name) == version:
                    continue
                self._take(folder / name, f"{prefix}/{name}", gathered, is_regular=version is not None)
        seal(self._artifacts, {})
        return gathered

    def _take(self, path: Path, name: str, gathered: Gathered, *, is_regular: bool) -> None:
        try:
            check_relative_path(name)
        except ValueError:
            is_regular = False
        if not is_regular or gathered.num_files >= MAX_FILES or len(name) > 1024:
            gathered.refused.append(name)
            return
        target = self._artifacts / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.rename(target)
        gathered.num_files += 1


def _is_real(folder: Path, run_dir: Path) -> bool:
    """Whether it lies where its name says: files behind a link are somebody else's, and would be moved away."""
    return Path(os.path.realpath(folder)) == Path(os.path.realpath(run_dir)) / folder.relative_to(run_dir)


def _files(root: Path) -> Iterator[tuple[str, Version | None]]:
    """Every file below ``root`` by its relative name; None stands for what is no regular file. No link is followed."""
    for folder, names, files in os.walk(root):
        links = [name for name in names if Path(folder, name).is_symlink()]
        names[:] = sorted(name for name in names if name not in LEFT_OUT and name not in links)
        for name in sorted([*files, *links]):
            path = Path(folder, name)
            status = path.lstat()
            version = (status.st_size, status.st_mtime_ns, status.st_ino)
            yield path.relative_to(root).as_posix(), version if stat.S_ISREG(status.st_mode) else None
