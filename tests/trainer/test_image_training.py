"""From an archive of images to a package and back: one attempt with about every knob turned, and predictions from what it leaves."""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.recipes import RECIPES
from core.states import Reason
from tests.trainer.launching import Attempt, Launch, WarmParent
from trainer.predict.image_classification import Predictor
from trainer.predict.loading import load_model, read_config
from trainer.predict.predictor import BadInput

SPEC: dict[str, Any] = {
    "recipe": "image-classification",
    "dataset": {"path": "/data/colours"},
    "data": {"class_weights": "balanced", "balanced_sampling": True, "validation_fraction": 0.2},
    "model": {"family": "vit", "patch": 4, "depth": 2, "width": 16, "heads": 2, "stochastic_depth": 0.1},
    "training": {
        **{"epochs": 6, "batch_size": 16, "accumulate": 2, "optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.01},
        **{"loss": "focal", "label_smoothing": 0.1, "ema": 0.9, "adversarial": {"method": "fgsm"}},
        **{"flip": True, "colour_jitter": 0.1, "randaugment": 1, "cutout": 2, "cutmix": 1.0, "mix_share": 0.5},
        "progressive": {"share": 0.3, "size": 0.5, "how": "resize"},
    },
    "evaluation": {"metric": "macro_f1", "limit_rows": 10, "mirrored": True},
}
TINT = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def picture(name: str, random: np.random.Generator) -> bytes:
    pixels = np.clip(random.normal(TINT[name], 40, (8, 8, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    with zipfile.ZipFile(root / "colours.zip", "w") as archive:
        for part, name, num in [("train", "red", 40), ("train", "green", 20), ("train", "blue", 10), *(("test", name, 5) for name in TINT)]:
            for number in range(num):
                archive.writestr(f"{part}/{name}/{number:02}.png", picture(name, random))
        archive.writestr("train/red/copy.png", archive.read("test/red/00.png"))
    return root


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory, warm_parent: WarmParent, folder: Path) -> Attempt:
    attempt = Launch(root=tmp_path_factory.mktemp("run"), parent=warm_parent, data_dir=folder)(SPEC).run()
    attempt.expect(Reason.COMPLETED)
    return attempt


def predictions(attempt: Attempt) -> list[dict[str, str]]:
    with (attempt.run_dir.artifacts / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read(attempt: Attempt, name: str) -> Any:
    return json.loads((attempt.run_dir.artifacts / name).read_text())


def test_it_learns_colours_and_is_tested_on_the_given_split(attempt: Attempt) -> None:
    metrics = read(attempt, "metrics.json")

    assert metrics["test"]["accuracy"] > 0.8
    assert metrics["test"]["num_rows"] == 15
    assert {name: score["rows"] for name, score in metrics["per_class"].items()} == {"blue": 5, "green": 5, "red": 5}
    assert read(attempt, "data_report.json")["splits"] == {"train": 57, "validation": 14, "test": 15}


def test_a_row_in_two_splits_is_reported(attempt: Attempt) -> None:
    assert read(attempt, "data_report.json")["counts"]["rows in both training and test"] == 1


def test_predictions_name_the_files_and_their_probabilities_add_up(attempt: Attempt) -> None:
    rows = predictions(attempt)

    assert [row["file"] for row in rows[:2]] == ["colours.zip/test/blue/00.png", "colours.zip/test/blue/01.png"]
    for row in rows:
        probabilities = [float(row[f"probability_{number}"]) for number in range(3)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert max(probabilities) == float(row["probability"]) == probabilities[int(row["prediction"])]


def test_no_metric_is_written_that_the_recipe_does_not_announce(attempt: Attempt) -> None:
    written = {metric for line in attempt.metrics() for metric in line.values}
    assert written <= set(RECIPES["image-classification"].metrics)
    assert {"validation_macro_f1", "test_accuracy"} <= written
    assert "test_top5" not in written  # of three classes


def predictor(attempt: Attempt) -> Predictor:
    package = attempt.run_dir.artifacts
    config = read_config(package)
    return Predictor(package, config, load_model(package, config, "cpu"))


def test_the_archive_is_predicted_as_it_was_tested(attempt: Attempt, folder: Path) -> None:
    with torch.inference_mode():
        found = {row["input"].removeprefix(f"{folder}/"): row for row in predictor(attempt).predict([folder / "colours.zip"])}

    assert len(found) == 86
    for row in predictions(attempt):
        assert found[row["file"]]["label"] == read(attempt, "config.json")["labels"][int(row["prediction"])]
        assert found[row["file"]]["probability"] == pytest.approx(float(row["probability"]), abs=1e-4)


def test_a_file_and_an_array_are_predicted_alike_and_scaled_when_they_must_be(attempt: Attempt, tmp_path: Path) -> None:
    content = picture("green", np.random.default_rng(5))
    (tmp_path / "1.png").write_bytes(content)
    image = Image.open(io.BytesIO(content))
    np.save(tmp_path / "2.npy", np.asarray(image))
    image.resize((32, 32), Image.Resampling.NEAREST).save(tmp_path / "3.png")

    with torch.inference_mode():
        one, two, three = predictor(attempt).predict([tmp_path / "1.png", tmp_path / "2.npy", tmp_path / "3.png"])

    assert one["label"] == two["label"] == three["label"] == "green"
    assert one["probabilities"] == two["probabilities"]


def test_what_is_no_image_is_said_in_one_line(attempt: Attempt, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"text")
    np.save(tmp_path / "2.npy", np.zeros((2, 8, 8, 3)))

    for name, says in (("1.png", "not an image in a format"), ("2.npy", "not uint8 images of 8 x 8 x 3")):
        with pytest.raises(BadInput, match=says):
            list(predictor(attempt).predict([tmp_path / name]))


def test_an_unusable_dataset_fails_the_attempt_with_what_is_wrong(launch: Launch, tmp_path: Path) -> None:
    launch.data_dir = tmp_path / "bad"
    launch.data_dir.mkdir()
    with zipfile.ZipFile(launch.data_dir / "a.zip", "w") as archive:
        archive.writestr("a/1.png", b"text")
        archive.writestr("b/2.png", b"text")

    attempt = launch({**SPEC, "model": {}, "training": {}, "evaluation": {}, "data": {}}).run()

    assert "there is no image in it that can be read" in attempt.expect(Reason.INVALID_DATA).message
