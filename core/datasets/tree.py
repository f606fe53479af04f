"""Which files may lie together in one version, and their rows."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, insert

from core.db.dataset_tables import dataset_files
from core.errors import InvalidInput, Problem
from core.manifest import ManifestFile
from core.wire.datasets import MAX_FILES

_BATCH = 1000
MAX_PROBLEMS = 100


def path_key(path: str) -> str:
    """Equal for paths that one file system or another takes for the same."""
    return hashlib.sha256(path.casefold().encode()).hexdigest()


def check_tree(files: Sequence[ManifestFile]) -> None:
    """InvalidInput, with the place of each, when paths collide: twice the same (case aside), or a file where another needs a folder."""
    if len(files) > MAX_FILES:
        raise InvalidInput(problems=[Problem("/files", f"{len(files)} files are more than the {MAX_FILES} of a version")])
    folders = {folder for file in files for folder in _folders(file.path.casefold())}
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for position, file in enumerate(files):
        folded = file.path.casefold()
        if folded in seen:
            words = "is there twice" if seen[folded] == file.path else f"and {seen[folded]!r} differ in case alone"
            problems.append(Problem(f"/files/{position}/path", f"{file.path!r} {words}", "duplicate"))
        elif folded in folders:
            problems.append(Problem(f"/files/{position}/path", f"{file.path!r} is a file here and a folder of another", "duplicate"))
        seen.setdefault(folded, file.path)
    if problems:
        raise InvalidInput(problems=problems[:MAX_PROBLEMS])


def insert_files(tx: Connection, version_id: str, files: Iterable[ManifestFile]) -> None:
    rows = [_row(version_id, file) for file in files]
    for start in range(0, len(rows), _BATCH):
        tx.execute(insert(dataset_files), rows[start : start + _BATCH])


def folder_keys(path: str) -> list[str]:
    """The keys of all folders above a file."""
    return [path_key(folder) for folder in _folders(path)]


def _row(version_id: str, file: ManifestFile) -> dict[str, str | int]:
    return {"version_id": version_id, "path_key": path_key(file.path), "path": file.path, "size": file.size, "sha256": file.sha256}


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))
