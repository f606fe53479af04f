"""Preparations without a job around them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.preparation import Preparation
from core.profile import Profile
from core.recipes import parse_spec
from core.recipes.dataset_validation import Data as ValidationData
from trainer.errors import InvalidData
from trainer.profile.profiling import profile_dataset
from trainer.tools.dataset_preparation import transform

Steps = list[dict[str, Any]]
ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "prepare_alone.py"


def prepared(root: Path, out: Path, steps: Steps, *, seed: int = 0, **data: Any) -> Preparation:
    out.mkdir()
    spec = {"recipe": "dataset-preparation", "dataset": {"path": "/unused"}, "seed": seed, "data": {"steps": steps, **data}}
    return transform(root, parse_spec(json.dumps(spec)), scratch=out / "scratch", target=out / "data", tell=lambda done, total: None)  # type: ignore[arg-type]


def refusal(root: Path, out: Path, steps: Steps, **data: Any) -> list[str]:
    """The problems; nothing was written."""
    with pytest.raises(InvalidData) as caught:
        prepared(root, out, steps, **data)
    assert not (out / "data").exists()
    return list(caught.value.problems)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def profiled(folder: Path) -> Profile:
    return profile_dataset(folder, ValidationData(), lambda done, total: None)


def prepared_elsewhere(root: Path, out: Path, steps: Steps, *, seed: int = 0, hash_seed: int = 0) -> Any:
    """By a process of its own: ``files`` has their SHA-256, ``peak`` the most bytes of memory that it held."""
    command = [sys.executable, str(PROGRAM), str(root), str(out), json.dumps(steps), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(hash_seed)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


def is_reproducible(root: Path, out: Path, steps: Steps) -> bool:
    """Whether two processes whose sets and hashes have different orders leave the same bytes, and another seed leaves others."""
    out.mkdir()
    runs = [prepared_elsewhere(root, out / str(number), steps, seed=seed, hash_seed=number + 1) for number, seed in enumerate((7, 7, 8))]
    assert runs[0]["files"], "something is left"
    return runs[0]["files"] == runs[1]["files"] != runs[2]["files"] and runs[0]["done"] == runs[1]["done"]
