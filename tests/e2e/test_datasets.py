"""Push a folder from the command line, have it validated by a worker, train on it by name on two ranks, prepare another version."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bed.stack import ROOT, Stack
from tests.e2e.tiny_data import image

SETTINGS = {
    "training.epochs": 4,
    "training.batch_size": 16,
    "model.width": 4,
    "resources.devices_per_node": 2,
    "resources.accelerator": "cpu",
    "seed": 1,
}


class Shell:
    """``trainyard`` as typed by a user of this stack."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._environment = {"PATH": "/usr/bin:/bin", "TRAINYARD_URL": stack.url, "TRAINYARD_API_KEY": stack.admin_key}
        self._folder = folder

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        command = [sys.executable, "-m", "trainyard", *arguments, "--json"]
        environment = {**self._environment, "PYTHONPATH": str(ROOT)}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=self._folder)
        assert said.returncode == code, (said.stdout, said.stderr)
        return json.loads(said.stdout)


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Shell:
    return Shell(stack, tmp_path)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    for name in ("left", "top"):
        (tmp_path / "shapes" / name).mkdir(parents=True)
        for number in range(40):
            (tmp_path / "shapes" / name / f"{number:03}.png").write_bytes(image(name, rng))
    return tmp_path / "shapes"


def test_a_folder_becomes_a_dataset_that_jobs_train_on_by_name(stack: Stack, shell: Shell, shapes: Path, tmp_path: Path) -> None:
    pushed = shell("dataset", "push", str(shapes), "--task", "image-classification")
    assert (pushed["state"], pushed["num_files"], pushed["profile"]["valid"]) == ("ready", 80, True), stack.explain(pushed["job_id"])
    settings = [word for name, value in SETTINGS.items() for word in ("-p", f"{name}={value}")]
    asked = shell("validate", "--recipe", "image-classification", "-p", 'dataset="shapes"', *settings)
    assert (asked["data"]["num_training_rows"], asked["data"]["splits"]) == (56, {"all": 80})
    assert asked["estimate"]["num_steps"] == 16
    job = shell("submit", "--recipe", "image-classification", "-p", 'dataset="shapes@latest"', *settings, "--watch")
    assert job["state"] == "succeeded", stack.explain(job["id"])
    assert job["spec"]["dataset"] == {"name": "shapes", "version": 1}
    assert job["metrics"]["test_accuracy"] >= 0.8

    steps = tmp_path / "steps.json"
    steps.write_text(json.dumps([{"do": "drop_duplicates"}]))
    made = shell("dataset", "prepare", "shapes", str(steps))
    assert (made["number"], made["state"], made["num_files"]) == (2, "ready", 80), stack.explain(made["job_id"])
    assert made["lineage"]["version"] == 1
    assert made["digest"] == pushed["digest"], "the same bytes"


def test_data_that_cannot_be_used_is_an_invalid_version(stack: Stack, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"")
    pushed = shell("dataset", "push", "rows.csv", code=1)
    assert pushed["state"] == "invalid", stack.explain(pushed["job_id"])
    assert pushed["profile"]["findings"]
