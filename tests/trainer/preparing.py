"""Preparations without a job around them."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.preparation import Preparation
from core.recipes import parse_spec
from trainer.errors import InvalidData
from trainer.tools.dataset_preparation import transform

Steps = list[dict[str, Any]]


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
