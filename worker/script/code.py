"""Puts a script's code into its folder, whichever way the spec names it, and checks that there is something to start."""

import os
import shutil
from pathlib import Path

from core.archives import ArchiveRules, BadArchive, extract
from core.manifest import ManifestFile
from core.recipes.script import InlineCode, PathCode, ScriptSpec
from core.states import Reason
from worker.materialise import CannotPrepare, Materialiser

RULES = ArchiveRules(max_entries=20_000, max_bytes=4 << 30)
NOT_CODE = frozenset({".git", "__pycache__", ".venv"})


def place_code(spec: ScriptSpec, target: Path, materialiser: Materialiser) -> None:
    """Makes the folder ``target``. CannotPrepare when the code cannot be had, breaks a rule, or lacks what is to be run."""
    code = spec.code
    if isinstance(code, InlineCode):
        _write(code.files, target)
    elif isinstance(code, PathCode):
        _copy(materialiser.local_folder(code.path, "code.path"), target)
    else:
        archive = materialiser.uploaded(ManifestFile(path="code", size=code.size, sha256=code.sha256))
        try:
            extract(archive, target, RULES)
        except BadArchive as error:
            raise CannotPrepare(Reason.USER_ERROR, f"code: {error}") from None
    if not (target / spec.entrypoint).is_file():
        raise CannotPrepare(Reason.USER_ERROR, f"entrypoint: the code has no {spec.entrypoint}{_elsewhere(target, spec.entrypoint)}")


def _write(files: dict[str, str], target: Path) -> None:
    for name, text in files.items():
        path = target / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def _copy(source: Path, target: Path) -> None:
    """Regular files alone: a link could lead out of the operator's roots."""
    num_bytes = num_files = 0
    for folder, names, files in os.walk(source):
        names[:] = [name for name in names if name not in NOT_CODE]
        here = target / Path(folder).relative_to(source)
        here.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (Path(folder, name) for name in files):
            if path.is_symlink() or not path.is_file():
                continue
            num_files, num_bytes = num_files + 1, num_bytes + path.stat().st_size
            if num_files > RULES.max_entries or num_bytes > RULES.max_bytes:
                raise CannotPrepare(Reason.USER_ERROR, "code.path: the folder is too large for code")
            shutil.copy2(path, here / path.name, follow_symlinks=False)


def _elsewhere(target: Path, entrypoint: str) -> str:
    """Where a file of that name does lie: archives often have a folder around everything."""
    name = Path(entrypoint).name
    found = sorted(path.relative_to(target).as_posix() for path in target.glob(f"*/{name}"))
    return f"; it has {ascii(found[0])[1:-1]}" if found else ""
