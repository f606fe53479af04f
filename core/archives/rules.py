"""What an archive and the names in it must be like. Refused, never repaired: a repaired name lies elsewhere than its archive says."""

import re
from dataclasses import dataclass

from core.errors import BadArchive
from core.manifest import check_relative_path

MIB, GIB = 1 << 20, 1 << 30
MAX_NAME_BYTES = 1024

# Windows opens these devices under any extension.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])\s*(\..*)?")
_DRIVE = re.compile(r"[A-Za-z]:")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRules:
    """Bounds of what may come out. ``max_ratio`` counts only beyond ``ratio_after_bytes``: small files of zeros are no bomb."""

    max_entries: int = 100_000
    max_bytes: int = 10 * GIB
    max_ratio: float = 200.0
    ratio_after_bytes: int = 100 * MIB


def shown(name: str) -> str:
    """A name from an archive, for a message: escaped, so that it cannot forge a line or turn the text around, and cut."""
    text = ascii(name)
    return text if len(text) <= 200 else f"{text[:196]}...'"


def check_name(name: str) -> tuple[str, ...]:
    """The parts of a plain relative name; BadArchive when it could mean anything else, here or on another system."""
    if _FORBIDDEN.search(name):
        raise BadArchive(f"entry {shown(name)}: the name holds a control or direction character, or is not UTF-8")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise BadArchive(f"entry {shown(name)}: the name is longer than {MAX_NAME_BYTES} bytes")
    try:
        check_relative_path(name)
    except ValueError as error:
        raise BadArchive(f"entry {shown(name)}: {error}") from None
    parts = tuple(name.split("/"))
    if _DRIVE.match(parts[0]):
        raise BadArchive(f"entry {shown(name)}: the name starts with a drive")
    for part in parts:
        if _DEVICE.fullmatch(part) or part[-1] in ". ":
            raise BadArchive(f"entry {shown(name)}: {shown(part)} means something else on Windows")
    return parts


@dataclass(slots=True)
class Node:
    """A name as it was first written, and what lies below it; None below a file."""

    spelt: str
    below: "dict[str, Node] | None"


class Names:
    """The names met so far, as a tree. Two that differ in case alone are one file on some systems."""

    def __init__(self, max_entries: int) -> None:
        self._left = self._max = max_entries
        self._root: dict[str, Node] = {}

    def take(self, name: str, parts: tuple[str, ...], *, is_folder: bool) -> None:
        """BadArchive for a second file of the name, for a name that is a file and a folder, and beyond ``max_entries``."""
        level = self._root
        for part in parts if is_folder else parts[:-1]:
            level = self._folder(level, part, name)
        if is_folder:
            return
        if parts[-1].casefold() in level:
            raise BadArchive(f"entry {shown(name)}: there are two of this name, or they differ in case alone")
        self._add(level, Node(parts[-1], None))

    def _folder(self, level: dict[str, Node], part: str, name: str) -> dict[str, Node]:
        node = level.get(part.casefold()) or self._add(level, Node(part, {}))
        if node.spelt != part:
            raise BadArchive(f"entry {shown(name)}: {shown(part)} differs in case alone from {shown(node.spelt)}")
        if node.below is None:
            raise BadArchive(f"entry {shown(name)}: {shown(part)} is a file and a folder")
        return node.below

    def _add(self, level: dict[str, Node], node: Node) -> Node:
        self._left -= 1
        if self._left < 0:
            raise BadArchive(f"the archive has more than {self._max} files and folders")
        level[node.spelt.casefold()] = node
        return node
