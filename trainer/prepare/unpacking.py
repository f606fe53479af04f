"""Recordings and their table in a .zip: unpacked before anything is read, they are a folder like any other from there on."""

from pathlib import Path

from core.archives import ArchiveRules, BadArchive, extract
from core.recipes.preparable import AUDIO_ARCHIVE
from trainer.data.layout import find_parts, part_of
from trainer.errors import InvalidData
from trainer.prepare.spooling import Tick
from trainer.profile.detection import form_of, table_files

# As many files as a version of a dataset may have, and as many bytes as a script's files by default.
RULES = ArchiveRules(max_entries=100_000, max_bytes=100 << 30)
NOT_DATA = (".", "__MACOSX")


def without_archive(root: Path, scratch: Path, tick: Tick) -> Path:
    """``root`` itself, or the folder below ``scratch`` that its archive of recordings became.

    InvalidData when the archive breaks a rule, and nothing is left of it then.
    """
    archives = [path for paths in find_parts(root, (".zip",)).values() for path in paths]
    if not archives or form_of(root)[0] != AUDIO_ARCHIVE:
        return root
    if len(archives) > 1:
        raise InvalidData(["its recordings lie in several archives, and the table of one says nothing of the others; put all into one"])
    scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        extract(archives[0], scratch, RULES, kind="zip", tick=tick)
    except BadArchive as error:
        raise InvalidData([f"{archives[0].name}: {error}"]) from None
    folder = _top_of(scratch)
    if not table_files(folder):
        raise InvalidData([f"{archives[0].name}: no table in it names its recordings"])
    return folder


def _top_of(folder: Path) -> Path:
    """Many an archive has one folder around everything. A folder that is a split stays below, for its name tells the split."""
    found = [path for path in folder.iterdir() if not path.name.startswith(NOT_DATA)]
    if len(found) == 1 and found[0].is_dir() and part_of(found[0].name) is None:
        return _top_of(found[0])
    return folder
