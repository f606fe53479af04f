"""docs/ADDING_A_RECIPE.md, followed to the letter on a copy of the source: the recipe trains, stops, resumes, packages and predicts."""

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.manifest import verify
from tests.bed.waiting import until

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/ADDING_A_RECIPE.md"
STEP = re.compile(
    r"^(?:New file `(?P<new>[^`]+)`|In `(?P<old>[^`]+)`, after `(?P<anchor>[^`]+)`):\n\n```python\n(?P<code>.*?)```$", re.M | re.S
)


def follow(guide: str, copy: Path) -> int:
    """Does to the copy what each step of the guide says, and counts them."""
    steps = list(STEP.finditer(guide))
    for step in steps:
        if step["new"]:
            path = copy / step["new"]
            assert not path.exists(), f"{path} is there already"
            path.write_text(step["code"])
        else:
            path = copy / step["old"]
            before, anchor, after = path.read_text().partition(step["anchor"] + "\n")
            assert anchor, f"{step['old']} has no line {step['anchor']!r}"
            path.write_text(before + anchor + step["code"] + after)
    return len(steps)


@dataclass(frozen=True)
class Copy:
    """The source with the guide's recipe in it."""

    root: Path

    def start(self, run_dir: Path, spec: dict[str, Any], **more: Any) -> "subprocess.Popen[str]":
        for folder in ("checkpoints", "artifacts", "logs", "scratch"):
            (run_dir / folder).mkdir(parents=True, exist_ok=True)
        run_file = {"job_id": "job", "attempt": 1, "spec": spec, "device": "cpu", "data_dir": str(self.root / "points.csv"), **more}
        (run_dir / "spec.json").write_text(json.dumps(run_file))
        return self.python("-m", "trainer.main", str(run_dir))

    def python(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, *arguments]
        return subprocess.Popen(command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("source")
    for room in ("core", "trainer"):
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    assert follow(GUIDE.read_text(), root) == 9
    points = [(number / 50 - 1, 1 - 2 * (number / 50 - 1) + 3 * (number / 50 - 1) ** 2) for number in range(100)]
    (root / "points.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in points))
    return Copy(root)


def test_the_recipe_of_the_guide_learns_and_its_package_predicts(copy: Copy, tmp_path: Path) -> None:
    spec = {"recipe": "curve-fitting", "dataset": {"path": "/data/points.csv"}, "model": {"degree": 2}, "training": {"epochs": 100}}
    training = copy.start(tmp_path, spec)
    log, _ = training.communicate()
    assert training.returncode == 0, log

    metrics = json.loads((tmp_path / "artifacts/metrics.json").read_text())
    assert metrics["test"]["loss"] < 0.02
    assert {"model.pt2", "README.md", "predictions.csv"} <= {file.path for file in verify(tmp_path / "artifacts").files}

    said, _ = copy.python("-m", "trainer.predict", str(tmp_path / "artifacts"), "0.5", "--json").communicate()
    assert json.loads(said)["prediction"] == pytest.approx(1 - 1 + 3 * 0.25, abs=0.2)


def test_the_recipe_of_the_guide_stops_and_resumes_to_the_same_weights(copy: Copy, tmp_path: Path) -> None:
    spec = {
        "recipe": "curve-fitting",
        "dataset": {"path": "/data/points.csv"},
        "training": {"epochs": 200, "batch_size": 8},
        "evaluation": {"every_epochs": 200},
        "resources": {"accelerator": "cpu"},
        "deterministic": True,
    }
    whole = copy.start(tmp_path / "whole", spec)
    log, _ = whole.communicate()
    assert whole.returncode == 0, log

    first = copy.start(tmp_path / "first", spec)
    lines = tmp_path / "first/metrics.jsonl"
    until(lambda: lines.exists() and lines.read_text().count("\n") > 20, within=60, what="twenty steps")
    first.send_signal(signal.SIGTERM)
    log, _ = first.communicate()
    assert first.returncode == 143, log

    (checkpoint,) = (tmp_path / "first/checkpoints").iterdir()
    second = copy.start(tmp_path / "second", spec, resume_from=str(checkpoint))
    log, _ = second.communicate()
    assert second.returncode == 0, log
    results = [json.loads((tmp_path / name / "result.json").read_text())["weights_sha256"] for name in ("whole", "second")]
    assert results[0] == results[1]


def test_the_code_of_the_guide_keeps_the_house_style(tmp_path: Path) -> None:
    for number, step in enumerate(STEP.finditer(GUIDE.read_text())):
        if step["new"]:
            (tmp_path / f"step{number}.py").write_text(step["code"])
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
