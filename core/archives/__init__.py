"""Unpacks archives that strangers made: zip and tar, plain or gzipped. Standard library only, flat memory, nothing repaired.

Only regular files and folders come out, below a new folder and nowhere else. An archive that breaks a rule leaves nothing behind.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from core.archives.entries import Entry
from core.archives.rules import ArchiveRules
from core.archives.tally import Contents, Tally
from core.archives.tar_reader import gzipped_tar_entries, tar_entries
from core.archives.tree import unpacked_tree
from core.archives.zip_reader import zip_entries
from core.errors import BadArchive

__all__ = ["ArchiveRules", "BadArchive", "Contents", "Kind", "extract"]

Kind = Literal["zip", "tar"]
Reader = Callable[[BinaryIO, ArchiveRules], Iterator[Entry]]


def extract(
    archive: Path, target: Path, rules: ArchiveRules | None = None, *, kind: Kind | None = None, tick: Callable[[], None] = lambda: None
) -> Contents:
    """Unpacks ``archive`` to the folder ``target``, which must not exist, and tells what was written.

    ``target`` appears in one step when everything is there. BadArchive names the entry that breaks a rule, OSError what the
    file system refused; both leave no trace. ``kind`` is what the archive's name claims; the bytes must agree.
    ``tick`` is called before each entry is written; what it raises leaves no trace either.
    """
    rules = rules or ArchiveRules()
    with archive.open("rb") as file:
        found, entries = _recognise(file)
        if kind is not None and found != kind:
            raise BadArchive(f"this is called a {kind} archive but is a {found} archive")
        if found == "tar":
            _survey(entries(file, rules), rules)
            file.seek(0)
        with unpacked_tree(target, rules) as tree:
            for entry in entries(file, rules):
                tick()
                tree.add(entry)
    return tree.contents


def _survey(entries: Iterator[Entry], rules: ArchiveRules) -> None:
    """A tar has no directory: a first pass that writes nothing spares the disk the files of an archive that is bad near its end."""
    tally = Tally(rules)
    for entry in entries:
        tally.note(entry)
        for piece in entry.pieces:
            tally.note_bytes(len(piece), entry)


def _recognise(file: BinaryIO) -> tuple[Kind, Reader]:
    """By the first bytes: a name proves nothing."""
    start = file.read(512)
    file.seek(0)
    if not start:
        raise BadArchive("the archive is empty")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip", zip_entries
    if start.startswith(b"\x1f\x8b"):
        return "tar", gzipped_tar_entries
    if len(start) == 512 and start[257:262] == b"ustar":
        return "tar", tar_entries
    raise BadArchive("this is neither a zip nor a tar archive (plain or gzipped)")
