"""The folder that an archive becomes: written under another name, every step of a path by descriptor, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.archives.entries import Entry
from core.archives.rules import ArchiveRules
from core.archives.tally import Contents, Tally
from core.errors import BadArchive

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def unpacked_tree(target: Path, rules: ArchiveRules) -> Iterator["Tree"]:
    """A tree to fill, which is ``target`` afterwards; whatever is raised meanwhile removes all of it.

    FileExistsError when there is a ``target``. One process at a time may unpack to the same one.
    """
    if target.exists() or target.is_symlink():
        raise FileExistsError(f"{target} exists")
    part = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir(mode=0o700)
    try:
        root = os.open(part, _FOLDER)
        try:
            tree = Tree(root, rules)
            yield tree
        finally:
            os.close(root)
        if not tree.contents.num_files:
            raise BadArchive("the archive holds no file")
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


class Tree:
    """Below the folder ``root``, a descriptor."""

    def __init__(self, root: int, rules: ArchiveRules) -> None:
        self._root = root
        self._tally = Tally(rules)

    @property
    def contents(self) -> Contents:
        return self._tally.contents

    def add(self, entry: Entry) -> None:
        """BadArchive when the entry breaks a rule."""
        parts = self._tally.note(entry)
        folder = self._enter(parts if entry.is_folder else parts[:-1])
        try:
            if not entry.is_folder:
                self._write(folder, parts[-1], entry)
        finally:
            os.close(folder)

    def _write(self, folder: int, name: str, entry: Entry) -> None:
        mode = 0o700 if entry.is_executable else 0o600
        with open(os.open(name, _NEW_FILE, mode, dir_fd=folder), "wb", buffering=0) as file:
            for piece in entry.pieces:
                self._tally.note_bytes(len(piece), entry)
                file.write(piece)

    def _enter(self, parts: tuple[str, ...]) -> int:
        """A descriptor of the folder, made where it is missing; no link is followed on the way."""
        here = os.dup(self._root)
        for part in parts:
            try:
                try:
                    below = os.open(part, _FOLDER, dir_fd=here)
                except FileNotFoundError:
                    os.mkdir(part, 0o700, dir_fd=here)
                    below = os.open(part, _FOLDER, dir_fd=here)
            finally:
                os.close(here)
            here = below
        return here
