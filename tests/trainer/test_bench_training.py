"""The bench of the training engine: its specs are specs, its page keeps what others wrote, and its bare loops run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import report
from bench.training import figures
from bench.training.__main__ import NAMES, rows_of
from bench.training.figures import Figure
from bench.training.goals import GOALS
from bench.training.launch import SPECS, read_spec
from bench.training.speed import GPT, IMAGES
from core.recipes import parse_spec

SCRIPTS = Path(report.__file__).parent / "training"


@pytest.mark.parametrize("name", sorted(path.stem for path in SPECS.glob("*.json")))
def test_specs_are_valid_on_two_ranks(name: str) -> None:
    parse_spec(json.dumps({**read_spec(name), "resources": {"devices_per_node": 2, "accelerator": "cpu"}}))


@pytest.mark.parametrize("spec", [IMAGES, GPT], ids=["images", "gpt"])
def test_specs_of_the_comparisons_are_valid(spec: dict[str, Any]) -> None:
    parse_spec(json.dumps(spec))


def test_every_goal_has_its_spec_and_every_name_its_function() -> None:
    assert {goal.spec for goal in GOALS.values()} <= {path.stem for path in SPECS.glob("*.json")}
    assert all(callable(rows_of(name)) for name in NAMES)


def test_a_change_replaces_knobs_and_keeps_the_rest_of_their_section() -> None:
    spec = read_spec("digits", seed=3, data={"test_fraction": 0.3})

    assert spec["seed"] == 3
    assert spec["data"] == {**read_spec("digits")["data"], "test_fraction": 0.3}


def test_one_row_is_measured_again_and_the_page_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, kept = tmp_path / "RESULTS.md", tmp_path / "results.json"
    monkeypatch.setattr(report, "RESULTS", page)
    monkeypatch.setattr(figures, "RESULTS", kept)
    page.write_text("# Results\n\n## Service\n\n| a | row |\n")

    figures.keep("digits", [Figure("digits", "98 %", "99 %", False, 1.25, 2.5)], device="2 cores")
    figures.keep("sst2", [Figure("sentiment", "83 %", "82 %", True)], device="2 cores")
    figures.keep("digits", [Figure("digits", "99.5 %", "99 %", True, 1.25, 2.5)], device="2 cores")
    figures.render(NAMES)
    figures.render(NAMES)

    text = page.read_text()
    assert text.startswith("# Results\n\n## Service\n\n| a | row |\n\n## Training engine\n")
    assert text.count("## Training engine") == 1
    assert "| digits | 99.5 % | 99 % | reached | 1.2 | 2.5 | `python -m bench.training digits --data DATA` |" in text
    assert "| sentiment | 83 % | 82 % | reached |  |  |" in text
    assert "98 %" not in text


def test_a_folder_of_data_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-m", "bench.training", "digits"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--data DIR must name the folder" in done.stderr


def test_the_bare_loops_train(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((40, 8, 8), np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(40) % 2)
    np.save(tmp_path / "tokens.npy", np.arange(200, dtype=np.uint16) % 7)
    net = {"family": "resnet", "depth": 8, "width": 4, "stem": "small", "num_channels": 1, "num_classes": 2}
    gpt = {"family": "gpt", "vocabulary": 7, "context": 8, "num_layers": 1, "num_heads": 1, "width": 8}
    common = {"batch_size": 4, "num_steps": 15, "learning_rate": 0.01, "weight_decay": 0.1, "precision": "fp32", "seed": 1, "device": "cpu"}
    settings: dict[str, dict[str, Any]] = {
        "bare_image": {
            **{name: str(tmp_path / f"{name}.npy") for name in ("images", "labels")},
            "architecture": {"family": "image-classifier", "net": net, "mean": [0.5], "deviation": [1.0]},
        },
        "bare_gpt": {"tokens": str(tmp_path / "tokens.npy"), "architecture": gpt, "context": 8, "beta2": 0.99, "compile": False},
    }
    for script, own in settings.items():
        (tmp_path / "settings.json").write_text(json.dumps({**common, **own}))
        command = [sys.executable, str(SCRIPTS / f"{script}.py"), str(tmp_path / "settings.json")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) > 0
