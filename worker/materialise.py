"""Puts what a spec refers to on this node: datasets and base models, in a cache that concurrent jobs share."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.file_locks import try_lock
from core.manifest import Manifest, ManifestError, ManifestFile, content_key, seal, sha256_of, verify
from core.spec import BuiltinDataset, Dataset, JobSpec, PathDataset, PathModel
from core.states import Reason
from core.wire.worker import ContentSource, ModelSource
from worker.cache_use import CacheUse
from worker.download import Downloader
from worker.launcher import run_tool
from worker.verified import is_verified, protect

CONVERT_SECONDS = 600.0
LOCK_PAUSE_SECONDS = 0.05


class CannotPrepare(Exception):
    """The attempt ends before it is launched."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Materialiser:
    """``check`` raises when it has become pointless to go on: the lease is gone, or somebody asked to stop.

    What it answers stays on the node until ``uses`` is closed.
    """

    def __init__(
        self, cache: Path, data_roots: Sequence[Path], downloader: Downloader, check: Callable[[], None], *, uses: CacheUse
    ) -> None:
        self.cache = cache
        self._uses = uses
        self._data_roots = data_roots
        self._downloader = downloader
        self._check = check

    def channels(self, spec: JobSpec, sources: Mapping[str, ContentSource]) -> dict[str, Path]:
        """Where each dataset of the spec lies; ``sources`` are the files of those that are named."""
        return {channel: self.dataset(dataset, sources.get(channel)) for channel, dataset in spec.channels().items()}

    def dataset(self, dataset: Dataset, source: ContentSource | None = None) -> Path:
        """The folder or file to train from. CannotPrepare when it may not be used, or cannot be made."""
        if isinstance(dataset, BuiltinDataset):
            return self._builtin(dataset.builtin)
        if isinstance(dataset, PathDataset):
            return self._local(Path(dataset.path), "dataset.path", may_be_file=True)
        if source is None:
            raise CannotPrepare(Reason.PROTOCOL, "the claim does not say where the dataset lies")
        return self._version(source.files)

    def base_model(self, spec: JobSpec, source: ModelSource | None) -> Path | None:
        """The folder of the package to start from."""
        if isinstance(spec.base_model, PathModel):
            return self._local(Path(spec.base_model.path), "base_model.path", may_be_file=False)
        if spec.base_model is None:
            return None
        if source is None:
            raise CannotPrepare(Reason.PROTOCOL, "the claim does not say where the base model lies")
        return self.package(source.files)

    def local_folder(self, path: str, field: str) -> Path:
        """The folder that a spec names in ``field``, inside the operator's roots."""
        return self._local(Path(path), field, may_be_file=False)

    def uploaded(self, file: ManifestFile) -> Path:
        """A file that the project has uploaded, on this node."""
        return self.package((file,)) / file.path

    def _local(self, path: Path, field: str, *, may_be_file: bool) -> Path:
        """The folder or file itself, when every link on the way to it stays inside a root that the operator allows."""
        try:
            resolved = path.resolve(strict=True)
        except (OSError, RuntimeError):
            raise CannotPrepare(Reason.INVALID_DATA, f"{field}: {path} does not exist on this worker") from None
        # Absent and forbidden read alike but for the roots' own contents: nothing outside them can be probed.
        if not any(resolved.is_relative_to(root.resolve()) for root in self._data_roots):
            raise CannotPrepare(Reason.INVALID_DATA, f"{field}: {path} does not lie inside the data roots of this worker")
        if not (resolved.is_dir() or (may_be_file and resolved.is_file())):
            kind = "neither a folder nor a file" if may_be_file else "not a folder"
            raise CannotPrepare(Reason.INVALID_DATA, f"{field}: {path} is {kind}")
        return resolved

    def _builtin(self, name: str) -> Path:
        folder = self.cache / "datasets" / name
        if _is_sound(folder):
            return folder
        with self.alone(folder):
            if not _is_sound(folder):
                self._convert(name, folder)
        return folder

    def _convert(self, name: str, folder: Path) -> None:
        argv = [sys.executable, "-m", f"trainer.data.{name}", str(folder)]
        try:
            done = run_tool(argv, CONVERT_SECONDS)
        except TimeoutError:
            raise CannotPrepare(Reason.STORAGE, f"the dataset {name} was not ready after {CONVERT_SECONDS:.0f} s") from None
        if done.returncode != 0 or not _is_sound(folder):
            raise CannotPrepare(Reason.STORAGE, f"the dataset {name} could not be made: {done.stderr.strip()[-2000:]}")

    def _version(self, files: tuple[ManifestFile, ...]) -> Path:
        """A version of one file is that file, one of several a folder with nothing else in it."""
        entry = self.cache / "versions" / content_key(files)
        content = entry / "content"  # beside what says that it is whole: a dataset may have files of any name
        with self.alone(entry):
            if not is_verified(entry, lambda: _is_as_listed(content, files)):
                shutil.rmtree(entry, ignore_errors=True)
                part = entry.with_name(f".{entry.name}.part")
                self._downloader.fetch(Manifest.model_construct(files=files), part / "content")
                _take(part, entry)
        return content / files[0].path if len(files) == 1 else content

    def package(self, files: tuple[ManifestFile, ...]) -> Path:
        """The folder that holds exactly these files; downloaded unless an earlier need has left it here."""
        folder = self.cache / "models" / content_key(files)
        with self.alone(folder):
            if not is_verified(folder, lambda: _is_sound(folder)):
                shutil.rmtree(folder, ignore_errors=True)
                part = folder.with_name(f".{folder.name}.part")
                self._downloader.fetch(Manifest(files=files), part)
                seal(part, {})
                _take(part, folder)
        return folder

    @contextmanager
    def alone(self, folder: Path) -> Iterator[None]:
        """One supervisor at a time works on this entry of the cache; the others wait as long as they may.

        The entry is in use from here on. Before, its lock file could be removed, and the next one would lock another.
        """
        self._uses.hold(folder)
        pause = threading.Event()
        with folder.with_name(f".{folder.name}.lock").open("wb") as file:
            while not try_lock(file.fileno()):
                self._check()
                pause.wait(LOCK_PAUSE_SECONDS)
            yield


def _take(part: Path, entry: Path) -> None:
    """What the downloader has verified becomes the entry."""
    protect(part)
    part.rename(entry)
    is_verified(entry, lambda: True)


def _is_as_listed(folder: Path, files: Iterable[ManifestFile]) -> bool:
    """Whether every file is there with its SHA-256, and nothing beside."""
    try:
        present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
        return present == {file.path for file in files} and all(sha256_of(folder / file.path) == file.sha256 for file in files)
    except OSError:
        return False


def _is_sound(folder: Path) -> bool:
    try:
        verify(folder)
    except (ManifestError, OSError):
        return False
    return True
