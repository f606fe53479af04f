"""All text of a dataset in UTF-8, before anything of it is read."""

import codecs
import os
import shutil
from pathlib import Path

from core.recipes.dataset_preparation import FixEncoding
from trainer.errors import InvalidData
from trainer.prepare.spooling import Tick
from trainer.profile.files import CHUNK, TEXT_SUFFIXES, encoding_of, files_below

ENCODING_OF_PROFILE = {"ascii": "utf-8-sig", "utf-8": "utf-8-sig", "utf-8 with a byte order mark": "utf-8-sig", "unknown": "cp1252"}


def fix_encoding(root: Path, step: FixEncoding, scratch: Path, tick: Tick) -> tuple[Path, dict[str, str]]:
    """The dataset with all text in UTF-8, below ``scratch``, and the encoding of every file that was in another.

    InvalidData names all files that are not what the step says.
    """
    fixed, problems = dict[str, str](), list[str]()
    paths = files_below(root, follow_links=False)
    for path in paths:
        name = path.name if path == root else path.relative_to(root).as_posix()
        target = scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not name.lower().endswith(TEXT_SUFFIXES):
            _place(path, target)
            continue
        found = encoding_of(path)
        encoding = ENCODING_OF_PROFILE.get(found, found) if step.source == "auto" else step.source
        try:
            _recode(path, target, "utf-8-sig" if encoding == "utf-8" else encoding, tick)
        except UnicodeError as error:
            problems.append(f"{name}: it is not {encoding}: {error}")
        if found not in ("ascii", "utf-8"):
            fixed[name] = encoding
    if problems:
        raise InvalidData(problems)
    return (scratch / root.name if root.is_file() else scratch), fixed


def _recode(path: Path, target: Path, encoding: str, tick: Tick) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as source, target.open("wb") as file:
        while chunk := source.read(CHUNK):
            tick()
            file.write(decoder.decode(chunk).encode("utf-8"))
        file.write(decoder.decode(b"", final=True).encode("utf-8"))


def _place(path: Path, target: Path) -> None:
    """A second name where the file system allows it, else a copy."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
