"""The package of a classifier: a plain Python without this software gets the stated accuracy out of it."""

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.manifest import verify
from core.recipes.image_classification import Data
from tests.trainer.launching import Attempt, Launch, WarmParent
from trainer.data.findings import Findings
from trainer.data.splits import make_splits

SPEC: dict[str, Any] = {
    "recipe": "image-classification",
    "name": "reads digits",
    "dataset": {"builtin": "digits"},
    "model": {"width": 8},
    "training": {"epochs": 3},
    "seed": 5,
}

# -I: no environment, no current folder, no user's packages on the path; and the checkout's own modules are blocked by name.
PLAIN = """
import csv, sys
for room in ("core", "trainer", "worker", "api", "trainyard"):
    sys.modules[room] = None
import numpy, torch
model_file, images_file, predictions_file = sys.argv[1:]
model = torch.export.load(model_file).module()
rows = list(csv.DictReader(open(predictions_file)))
images = torch.from_numpy(numpy.load(images_file)[[int(row["row"]) for row in rows]])
found = model(images).argmax(1).tolist()
assert found == [int(row["prediction"]) for row in rows], "predictions differ from those in the package"
assert model(images[:1]).shape == (1, 10)
print(sum(a == int(row["label"]) for a, row in zip(found, rows)) / len(rows))
"""


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory, warm_parent: WarmParent, digits_dir: Path) -> Attempt:
    return Launch(root=tmp_path_factory.mktemp("package"), parent=warm_parent, data_dir=digits_dir)(SPEC).run()


def read(attempt: Attempt, name: str) -> Any:
    return json.loads((attempt.run_dir.artifacts / name).read_text())


def test_a_plain_python_gets_the_stated_accuracy_out_of_the_exported_program(attempt: Attempt, digits_dir: Path) -> None:
    folder = attempt.run_dir.artifacts
    command = [sys.executable, "-I", "-c", PLAIN, folder / "model.pt2", digits_dir / "images.npy", folder / "predictions.csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == read(attempt, "metrics.json")["test"]["accuracy"]


def test_three_quick_epochs_already_tell_digits_apart(attempt: Attempt) -> None:
    assert read(attempt, "metrics.json")["test"]["accuracy"] > 0.8


def test_the_package_is_sealed_and_the_result_names_its_weights(attempt: Attempt) -> None:
    manifest = verify(attempt.run_dir.artifacts)

    assert [file.path for file in manifest.files] == [
        "README.md",
        "config.json",
        "confusion.csv",
        "data_report.json",
        "metrics.json",
        "model.pt2",
        "model.safetensors",
        *sorted(f"plots/{path.name}" for path in (attempt.run_dir.artifacts / "plots").iterdir()),
        "predictions.csv",
    ]
    digest = hashlib.sha256((attempt.run_dir.artifacts / "model.safetensors").read_bytes()).hexdigest()
    assert attempt.weights() == digest
    assert digest in {file.sha256 for file in manifest.files}


def test_the_test_rows_are_those_of_the_seed_and_were_not_trained_on(attempt: Attempt, digits_dir: Path) -> None:
    labels = np.load(digits_dir / "labels.npy")
    knobs = Data()
    splits = make_splits(len(labels), knobs, seed=5, findings=Findings(), labels=labels)
    with (attempt.run_dir.artifacts / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert [int(row["row"]) for row in rows] == splits.test.tolist()
    assert [int(row["label"]) for row in rows] == labels[splits.test].tolist()


def test_metrics_agree_with_each_other(attempt: Attempt) -> None:
    metrics, result = read(attempt, "metrics.json"), attempt.result()
    counts = np.array(metrics["confusion"]["counts"])

    assert counts.sum() == metrics["test"]["num_rows"] == read(attempt, "data_report.json")["splits"]["test"]
    assert counts.trace() / counts.sum() == pytest.approx(metrics["test"]["accuracy"])
    assert result is not None
    assert result.metrics == {f"test_{name}": value for name, value in metrics["test"].items() if name != "num_rows"}
    assert np.mean([score["f1"] for score in metrics["per_class"].values()]) == pytest.approx(metrics["test"]["macro_f1"])
    assert max(attempt.series("validation_accuracy")) == metrics["validation"]["accuracy"]


def test_the_configuration_says_what_goes_in_and_what_comes_out(attempt: Attempt) -> None:
    config = read(attempt, "config.json")

    assert config["input"] == {
        "shape": ["batch", 8, 8],
        "dtype": "uint8",
        "layout": "NHW",
        "values": "pixels as they are stored in the dataset; the model normalises them itself",
    }
    assert config["labels"] == [str(digit) for digit in range(10)]
    assert config["architecture"]["net"]["width"] == 8
    assert 4.5 < config["normalisation"]["mean"][0] < 5.5


def test_the_card_tells_how_good_it_is_and_how_to_use_it(attempt: Attempt) -> None:
    text = (attempt.run_dir.artifacts / "README.md").read_text()

    assert text.startswith("# reads digits\n")
    assert f"| accuracy | {read(attempt, 'metrics.json')['test']['accuracy']:.4f} |" in text
    assert 'torch.export.load("model.pt2").module()' in text
    assert "seed 5" in text


def test_colour_images_are_packaged_in_the_layout_in_which_they_are_stored(launch: Launch, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 30)
    images = generator.integers(0, 60, (60, 12, 10, 3)).astype(np.uint8)
    images[labels == 1, :, :, 0] += 150  # class 1 is redder
    launch.data_dir = tmp_path / "colours"
    launch.data_dir.mkdir()
    np.save(launch.data_dir / "images.npy", images)
    np.save(launch.data_dir / "labels.npy", labels)
    (launch.data_dir / "classes.json").write_text('["blue", "red"]')
    training = {"epochs": 4, "batch_size": 8, "flip": True, "optimizer": "adamw", "learning_rate": 0.01, "precision": "bf16"}

    attempt = launch({**SPEC, "dataset": {"path": "/data/colours"}, "model": {"width": 4}, "training": training}).run()

    assert read(attempt, "config.json")["input"]["shape"] == ["batch", 12, 10, 3]
    assert read(attempt, "metrics.json")["test"]["accuracy"] == 1.0
