"""The folder that an archive becomes: written under another name, every step of a path by descriptor, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.archives.entries import Entry
from core.archives.rules import ArchiveRules, BadArchive, Names, check_name, shown

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Contents:
    """What came out of an archive."""

    num_files: int = 0
    num_bytes: int = 0


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
    """Counts what is really written: what a header says of sizes is a claim."""

    def __init__(self, root: int, rules: ArchiveRules) -> None:
        self.contents = Contents()
        self._root = root
        self._rules = rules
        self._names = Names(rules.max_entries)

    def add(self, entry: Entry) -> None:
        """BadArchive when the entry breaks a rule."""
        parts = check_name(entry.name)
        self._names.take(entry.name, parts, is_folder=entry.is_folder)
        if entry.is_folder:
            os.close(self._enter(parts))
            return
        folder = self._enter(parts[:-1])
        try:
            mode = 0o700 if entry.is_executable else 0o600
            with open(os.open(parts[-1], _NEW_FILE, mode, dir_fd=folder), "wb", buffering=0) as file:
                for piece in entry.pieces:
                    self._allow(len(piece), entry)
                    file.write(piece)
        finally:
            os.close(folder)
        self.contents.num_files += 1

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

    def _allow(self, num_bytes: int, entry: Entry) -> None:
        self.contents.num_bytes += num_bytes
        written, rules = self.contents.num_bytes, self._rules
        if written > rules.max_bytes:
            raise BadArchive(f"entry {shown(entry.name)}: the archive holds more than {rules.max_bytes} bytes")
        if written > rules.ratio_after_bytes and written > rules.max_ratio * entry.archive_bytes.count:
            raise BadArchive(
                f"entry {shown(entry.name)}: {entry.archive_bytes.count} bytes have become more than {rules.max_ratio:g} times as many"
            )
