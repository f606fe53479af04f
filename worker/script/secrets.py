"""The secrets of a script: files that only this user reads, there while the script runs."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from core.logs import conceal
from core.recipes.script import ScriptSpec
from core.states import Reason
from worker.materialise import CannotPrepare


def hand_over(spec: ScriptSpec, values: Mapping[str, str], folder: Path) -> None:
    """Writes each to a file of its name. From now on this process masks them in all that it writes or sends."""
    missing = [name for name in spec.secrets if name not in values]
    if missing:
        raise CannotPrepare(Reason.USER_ERROR, f"secrets: the project has no {', '.join(missing)}")
    if not spec.secrets:
        return
    conceal(values.values())
    folder.mkdir(mode=0o700)
    for name in spec.secrets:
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(values[name], encoding="utf-8", newline="")


def take_back(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
