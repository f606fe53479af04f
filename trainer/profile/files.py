"""The files of a dataset: how many, how large, in which encoding."""

import codecs
from pathlib import Path

from core.manifest import MANIFEST
from core.profile import FileProfile
from trainer.data.layout import part_of

MOST_LISTED = 200
CHUNK = 1 << 20
TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".txt", ".text", ".conll", ".conll2003", ".bio", ".iob", ".iob2")
_MARKS = {codecs.BOM_UTF8: "utf-8 with a byte order mark", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # behind UTF-32, whose mark begins like this one


def files_below(root: Path, *, follow_links: bool) -> list[Path]:
    """All that are data, sorted; ``root`` itself when it is a file. Links may lead anywhere: what hands files on does not follow them."""
    if root.is_file():
        return [root]
    files = (path for path in root.rglob("*") if path.is_file() and path.name != MANIFEST and (follow_links or not path.is_symlink()))
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts))


def describe_files(root: Path, paths: list[Path]) -> list[FileProfile]:
    """The first ``MOST_LISTED``."""
    return [_described(root, path) for path in paths[:MOST_LISTED]]


def _described(root: Path, path: Path) -> FileProfile:
    name = path.name if path == root else path.relative_to(root).as_posix()
    steps = name.split("/")
    split = part_of(steps[0]) or "all"
    encoding = encoding_of(path) if path.name.lower().endswith(TEXT_SUFFIXES) else None
    return FileProfile(path=name, num_bytes=path.stat().st_size, split=split, encoding=encoding)


def encoding_of(path: Path) -> str:
    """``ascii``, ``utf-8`` (with or without a mark), ``utf-16``, ``utf-32``, or ``unknown``: an old one-byte encoding most likely."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_ascii = True
    with path.open("rb") as file:
        start = file.read(4)
        mark = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
        file.seek(0)
        while chunk := file.read(CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                return mark if mark is not None and not mark.startswith("utf-8") else "unknown"
            is_ascii = is_ascii and chunk.isascii()
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "unknown"
    return mark or ("ascii" if is_ascii else "utf-8")
