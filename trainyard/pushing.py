"""What a push of a folder is made of: which files it sends, and each of them read once, then sent as far as the server lacks it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.manifest import ManifestFile
from trainyard.errors import BadInput
from trainyard.transport import Transport
from trainyard.uploads import describe_file, upload_file


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that is to be pushed, and its path in what it becomes a part of."""

    path: Path
    name: str
    size: int


# What is being done to which file, and how many of its bytes are through.
Told = Callable[[Literal["reading", "sending"], LocalFile, int], None]


def quiet(what: Literal["reading", "sending"], file: LocalFile, num_bytes: int) -> None:
    """Tells nobody."""


def files_below(folder: Path, *, hidden: tuple[str, ...] = (".",)) -> list[LocalFile]:
    """All files of the folder by path, but those of which a part starts with one of ``hidden``.

    BadInput when there is no folder, or no file in it, or a link leads out of it.
    """
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}")
    found = [
        LocalFile(path, path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(hidden) for part in path.relative_to(folder).parts)
    ]
    strangers = [file.name for file in found if not file.path.resolve().is_relative_to(folder.resolve())]
    if strangers:
        raise BadInput(f"{strangers[0]} is a link that leads out of {folder}; copy the file there instead")
    if not found:
        raise BadInput(f"there is no file in {folder}")
    return found


def push_file(transport: Transport, file: LocalFile, tell: Told) -> ManifestFile:
    """Has the server hold the file. Raises as ``describe_file`` and ``upload_file``."""
    described = describe_file(file.path, file.name, lambda num_bytes: tell("reading", file, num_bytes))
    upload_file(transport, file.path, described, lambda num_bytes: tell("sending", file, num_bytes))
    return described
