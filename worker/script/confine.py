"""The walls around one attempt's script: what it may read and write, and as which user it runs."""

import glob
import os
import shutil
import site
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.run_dir import RunDir
from core.states import Reason
from worker.confinement.accounts import Account, NoFreeUser, let_through, open_to_all
from worker.confinement.offer import Offer
from worker.confinement.walls import Walls
from worker.launch_plan import packages
from worker.materialise import CannotPrepare
from worker.node_dir import NodeDir
from worker.script.layout import ScriptDirs

# What programs of every kind look into. Of /etc only what everybody may read: a worker that is root could read the rest.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/sys", "/run/systemd/resolve", "/run/resolvconf")
CACHES = ("/var/cache/fontconfig",)
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "nvidia*", "dri", "kfd", "infiniband")
TEMPORARY = ("/tmp", "/var/tmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """What a node's operator grants each script."""

    max_processes: int  # and threads
    max_disk_bytes: int
    readable: tuple[Path, ...] = ()  # beside what a job names: the operator's data roots, and folders of models, say


@dataclass(slots=True)
class Confinement:
    """``enclose`` when all is in place, ``lift`` when nothing of the script runs any more; once more does no harm."""

    run_dir: RunDir
    dirs: ScriptDirs
    node_dir: NodeDir
    offer: Offer
    limits: ScriptLimits
    environ: Mapping[str, str]
    _account: Account | None = field(default=None, init=False)

    @property
    def user(self) -> int | None:
        return self._account.number if self._account else None

    @property
    def writable(self) -> tuple[Path, ...]:
        """The folders below the run directory that are the script's own."""
        run = self.run_dir
        return (self.dirs.root, run.logs, run.scratch, run.reports, run.saved)

    def enclose(self, *, python: Path, channels: Mapping[str, Path], secrets: Iterable[Path], others: Iterable[Path]) -> Walls:
        """``secrets`` are files for the script alone, ``others`` what it reads beside its datasets.

        CannotPrepare when one of these is closed to the user that it runs as, or all users are taken.
        """
        for folder in self.writable:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shown = [*channels.values(), *others]
        if self.offer.user is not None:
            self._open_account(self.offer.user, python, shown, secrets)
        return Walls(
            user=self.user,
            is_fenced=self.offer.landlock > 0,
            readable=tuple(self._readable(python, shown)),
            # Among one's own files, those of other programs would be open there; TMPDIR leads elsewhere.
            writable=(*map(str, self.writable), *_devices(), *(TEMPORARY if self.user is not None else ())),
            opened=tuple(str(path) for path in (*self._places(python, shown), *self.writable)),
            listable=tuple(map(str, _modules())),  # Python looks there for modules by their names
            max_processes=self.limits.max_processes,
            max_file_bytes=self.limits.max_disk_bytes,
        )

    def lift(self) -> None:
        if self._account is not None:
            self._account.forget(self.writable)
            self._account.close()
            self._account = None

    def _open_account(self, first: int, python: Path, shown: Iterable[Path], secrets: Iterable[Path]) -> None:
        try:
            self._account = Account.take(first)
        except NoFreeUser as error:
            raise CannotPrepare(Reason.STORAGE, str(error)) from None
        jobs = self.node_dir.jobs
        self._account.forget([*jobs.glob("*/a*/*"), *jobs.glob("*/a*/opt/ml")])  # of a supervisor that was killed
        self._account.give([*self.writable, *secrets])
        for path in (*self.writable, *shown, python.parent.parent):
            self._let_reach(path)
        for path in shown:
            self._let_read(path)

    def _let_reach(self, path: Path) -> None:
        """Only through folders of this node's own."""
        root = self.node_dir.root
        if path.is_relative_to(root):
            let_through(root, *(folder for folder in path.parents if folder != root and folder.is_relative_to(root)))

    def _let_read(self, path: Path) -> None:
        if path.is_relative_to(self.node_dir.root):
            open_to_all(path)
        elif not _is_open(path):
            raise CannotPrepare(
                Reason.INVALID_DATA,
                f"scripts run as another user here, to which {path} is closed: let others read it (chmod -R o+rX), "
                "or have the operator set TRAINYARD_SCRIPT_USER=0",
            )

    def _readable(self, python: Path, shown: Iterable[Path]) -> Iterator[str]:
        yield from SYSTEM
        yield from CACHES
        yield from (str(entry) for entry in Path("/etc").iterdir() if _is_open(entry))
        yield from (str(path) for path in self._places(python, shown))

    def _places(self, python: Path, shown: Iterable[Path]) -> list[Path]:
        """Of this installation, of its operator and of the job."""
        named: list[str] = [self.environ.get("CUDA_HOME", ""), *self.environ.get("LD_LIBRARY_PATH", "").split(":")]
        installed: list[str | Path] = [
            sys.prefix,
            sys.base_prefix,
            python.parent.parent,
            *site.getsitepackages(),
            *(name for name in named if name),
            *packages(),
        ]
        # Of other environments that this one stands on. Other entries, such as the folder that we were started in, hold anything.
        installed += [place for place in _modules() if place.name in ("site-packages", "dist-packages")]
        granted = [*self.limits.readable, self.run_dir.root]
        return [*(Path(place) for place in installed), *granted, *(path.resolve() for path in shown)]


def resume_folder(folder: Path, run_dir: RunDir, *, is_shared: bool) -> Path:
    """A checkpoint where the script may read it: where it lies, or, as another user may not get there, under this run directory."""
    if is_shared or folder.is_relative_to(run_dir.root):
        return folder
    place = run_dir.root / "resume" / folder.name
    shutil.copytree(folder, place, copy_function=os.link)  # the same bytes under another name
    return place


def _modules() -> list[Path]:
    """Where this interpreter finds modules, other environments that it stands on included."""
    return [Path(place).absolute() for place in sys.path if place]


def _is_open(path: Path) -> bool:
    """Whether everybody may read it."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    wanted = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
    return mode & wanted == wanted


def _devices() -> list[str]:
    return [path for name in DEVICES for path in glob.glob(f"/dev/{name}")]
