"""Which files of a dataset folder belong to which split, told by the names of files and folders."""

import re
from pathlib import Path

from core.manifest import MANIFEST

PARTS = ("train", "validation", "test", "all")
_PART = re.compile(r"(train|valid|val|dev|test)(ing|ation|elopment)?(set|data)?(?![a-z])")
_PART_OF_WORD = {"train": "train", "valid": "validation", "val": "validation", "dev": "validation", "test": "test"}


def part_of(name: str) -> str | None:
    """``train``, ``validation`` or ``test`` when a name says so: ``Train-00001.csv``, ``val``, ``dev.tsv``, ``test_set``."""
    found = _PART.match(name.lower())
    return _PART_OF_WORD[found.group(1)] if found else None


def find_parts(root: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """The files below ``root`` that end in one of ``suffixes`` (with their dots), by split, each list sorted.

    Keys are ``train``, ``validation`` and ``test``, or ``all`` for files whose split no name tells. Names count directly
    in ``root``: a file ``train.csv``, or a folder ``train`` with everything below it. Where there is training data, files
    that no name places are left alone; where nothing lies in ``root`` itself, what lies deeper counts. ``root`` may itself be one file.
    """
    if root.is_file():
        return {"all": [root]} if is_data(root, suffixes) else {}
    found = _parts_in(root, suffixes)
    if "train" in found:
        found.pop("all", None)
    if found:
        return found
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")] if root.is_dir() else []
    if len(folders) == 1:
        return find_parts(folders[0], suffixes)
    everything = _below(root, suffixes)
    return {"all": everything} if everything else {}


def is_data(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes) and not path.name.startswith((".", "._")) and path.name != MANIFEST


def _parts_in(root: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        part = part_of(path.name)
        if path.is_dir() and part is not None:
            found.setdefault(part, []).extend(_below(path, suffixes))
        elif path.is_file() and is_data(path, suffixes):
            found.setdefault(part or "all", []).append(path)
    return {part: found[part] for part in PARTS if found.get(part)}


def _below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    hidden = (".", "__MACOSX")
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and is_data(path, suffixes) and not any(part.startswith(hidden) for part in path.relative_to(folder).parts)
    ]
