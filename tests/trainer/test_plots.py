"""Pictures: drawn from what the run told, the same bytes for the same numbers, whatever the labels are called."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.package.curves import Curve, read_curves, thinned
from trainer.package.plots import draw_plots


@pytest.fixture
def metrics_file(tmp_path: Path) -> Path:
    lines = [{"seq": step, "step": step, "at": 0.0, "values": {"loss": 1 / step, "learning_rate": 0.1}} for step in range(101, 161)]
    lines.append({"seq": 200, "step": 160, "at": 0.0, "values": {"validation_loss": 0.1, "validation_word_error_rate": 0.2}})
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"seq": 201, "st')
    return path


def test_curves_are_what_the_file_says_without_its_torn_last_line(metrics_file: Path) -> None:
    curves = read_curves(metrics_file)

    assert curves.keys() == {"loss", "learning_rate", "validation_loss", "validation_word_error_rate"}
    assert curves["loss"].steps.tolist() == list(range(101, 161))
    assert curves["loss"].values[0] == pytest.approx(1 / 101)


def test_a_long_curve_keeps_its_mean() -> None:
    values = np.random.default_rng(0).normal(size=4003)
    thin = thinned(Curve(np.arange(4003.0), values), 100)

    assert len(thin.steps) == len(thin.values) == 100
    assert thin.values.mean() == pytest.approx(values.mean(), abs=1e-3)
    assert (np.diff(thin.steps) > 0).all()


def test_pictures_are_pictures_and_the_same_each_time(metrics_file: Path, tmp_path: Path) -> None:
    confusion = (["a$b$c", "x_y"], np.array([[5, 1], [0, 0]]))
    first = draw_plots(metrics_file, confusion, tmp_path / "first")
    second = draw_plots(metrics_file, confusion, tmp_path / "second")

    assert [path.name for path in first] == [f"{n}.{k}" for n in ("loss", "learning_rate", "metrics", "confusion") for k in ("png", "svg")]
    for path in first:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert min(picture.size) > 200
                assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 10
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_titles_and_labels_stand_in_the_svg_as_they_are(metrics_file: Path, tmp_path: Path) -> None:
    draw_plots(metrics_file, (["a$b$c", "<tag>"], np.eye(2, dtype=np.int64)), tmp_path / "plots")

    assert "a$b$c" in (tmp_path / "plots/confusion.svg").read_text()
    assert "&lt;tag&gt;" in (tmp_path / "plots/confusion.svg").read_text()
    assert "this attempt, from step 101" in (tmp_path / "plots/loss.svg").read_text()
    assert "word error rate" in (tmp_path / "plots/metrics.svg").read_text()


def test_nothing_told_nothing_drawn(tmp_path: Path) -> None:
    assert draw_plots(tmp_path / "metrics.jsonl", None, tmp_path / "plots") == []


def test_matplotlib_is_not_imported_before_it_draws() -> None:
    program = "import sys, trainer.package; print('matplotlib' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
