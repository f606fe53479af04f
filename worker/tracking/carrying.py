"""A new attempt of the same job begins with what the one before had told."""

import os
import shutil
from pathlib import Path

from worker.tracking.folder import TrackingFolder

HISTORY_BYTES = 256 << 20


def carry(old: TrackingFolder, new: TrackingFolder) -> None:
    """Copies runs, parameters, tags, artifacts (as links, where the file system can) and the history of metrics.

    Points of the old attempt go to ``history``, not to ``metrics``: whoever reads those has shipped them already. The journal
    comes last, so that a kill in between leaves nothing that looks whole. Does nothing when the new folder has a journal.
    """
    if new.journal.exists() or not old.journal.exists():
        return
    with new.history.open("wb") as history:
        for path in (old.history, old.metrics):
            if path.is_file():
                _append_whole_lines(path, history.fileno())
    shutil.rmtree(new.artifacts, ignore_errors=True)
    if old.artifacts.is_dir():
        shutil.copytree(old.artifacts, new.artifacts, symlinks=True, copy_function=_link)
    temporary = new.journal.with_name(".journal")
    shutil.copyfile(old.journal, temporary)
    temporary.replace(new.journal)


def _append_whole_lines(path: Path, descriptor: int) -> None:
    """The end of a longer file than ``HISTORY_BYTES``; a torn last line gets its newline and counts as unreadable."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > HISTORY_BYTES:
            file.seek(size - HISTORY_BYTES)
            file.readline()
        last = b"\n"
        while chunk := file.read(1 << 20):
            os.write(descriptor, chunk)
            last = chunk[-1:]
        if last != b"\n":
            os.write(descriptor, b"\n")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
