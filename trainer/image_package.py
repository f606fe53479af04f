"""The package of an image classifier: all that a user needs to run it, and to judge it, without this software.

model.pt2          the exported program: stored pixels in, logits out; ``torch.export.load("model.pt2").module()``
model.safetensors  its weights by name
config.json        architecture, labels, input, normalisation
metrics.json       scores, confusion matrix, history of the best
predictions.csv    each test row of the dataset, its label and its prediction
README.md          the model card
manifest.json      SHA-256 of each
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.export import Dim

from core.manifest import seal
from core.recipes.image_classification import ImageClassificationSpec
from core.run_dir import write_atomically
from trainer.data.folder import ImageFolder
from trainer.data.splits import Splits
from trainer.errors import ExportDiffers
from trainer.image_card import card
from trainer.models.classifier import ImageClassifier
from trainer.models.resnet import stem_for
from trainer.state import Learner, Run, Score, State

NUM_PROBES = 8
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Tested:
    """The final weights on the test split: ``predictions`` are class numbers in the order of ``rows``."""

    score: Score
    rows: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]


def write_package(
    run: Run, learner: Learner, state: State, *, spec: ImageClassificationSpec, data: ImageFolder, splits: Splits, tested: Tested
) -> None:
    """Fills and seals ``run.dir.artifacts``; ``model.safetensors`` lies there already. Moves the model to the CPU."""
    folder = run.dir.artifacts
    assert isinstance(learner.model, ImageClassifier)
    model = learner.model.to("cpu")
    config = describe(model, spec, data)
    metrics = summarise(state, tested, splits, data)
    export(model, data, tested, folder / "model.pt2")
    write_atomically(folder / "config.json", config)
    write_atomically(folder / "metrics.json", metrics)
    (folder / "predictions.csv").write_text(predictions_csv(data, tested))
    (folder / "README.md").write_text(card(run, state, spec, config, metrics), "utf-8")
    seal(folder, {"recipe": spec.recipe, "step": state.step, "test_accuracy": tested.score.accuracy, "torch": torch.__version__})


def export(model: nn.Module, data: ImageFolder, tested: Tested, path: Path) -> None:
    """Writes the program for any batch size, reads it back, and compares it with the model on real images.

    Raises ExportDiffers when it does not compute the same.
    """
    probes = torch.from_numpy(np.ascontiguousarray(data.images[tested.rows[:NUM_PROBES]]))
    batch = Dim("batch", min=1)
    # Two images at least: a batch of one would be taken for a constant.
    example = probes if len(probes) > 1 else probes.repeat(2, *[1] * (probes.dim() - 1))
    with torch.no_grad():
        program = torch.export.export(model, (example,), dynamic_shapes={"images": {0: batch}})
        written = io.BytesIO()  # torch would report a full disk as a RuntimeError
        torch.export.save(program, written)
        path.write_bytes(written.getvalue())
        found = torch.export.load(path).module()(probes)
        expected = model(probes)
    if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise ExportDiffers(f"model.pt2 differs from the trained model by up to {(found - expected).abs().max().item():.2g}")


def describe(model: ImageClassifier, spec: ImageClassificationSpec, data: ImageFolder) -> dict[str, Any]:
    shape = data.images.shape
    architecture = spec.model.model_dump() | {"stem": stem_for(spec.model.stem, shape[1], shape[2]), "num_channels": data.num_channels}
    return {
        "format": 1,
        "recipe": spec.recipe,
        "architecture": architecture,
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "labels": list(data.classes),
        "input": {
            "shape": ["batch", *map(int, shape[1:])],
            "dtype": "uint8",
            "layout": "NHW" if data.images.ndim == 3 else "NHWC",
            "values": "pixels as they are stored in the dataset; the model normalises them itself",
        },
        "normalisation": {"mean": model.mean.tolist(), "deviation": model.deviation.tolist(), "inside_model": True},
        "output": {"shape": ["batch", len(data.classes)], "dtype": "float32", "meaning": "logits; softmax gives probabilities"},
    }


def summarise(state: State, tested: Tested, splits: Splits, data: ImageFolder) -> dict[str, Any]:
    labels = data.labels[tested.rows]
    confusion = np.zeros((len(data.classes), len(data.classes)), dtype=np.int64)
    np.add.at(confusion, (labels, tested.predictions), 1)
    return {
        "test": tested.score.model_dump(),
        "validation": state.best.score.model_dump() if state.best else None,
        "best": {"step": state.best.step, "epoch": state.best.epoch + 1} if state.best else None,
        "num_steps": state.step,
        "num_epochs": state.epoch,
        "num_images": {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)},
        "confusion": {"rows": "label", "columns": "prediction", "counts": confusion.tolist()},
    }


def predictions_csv(data: ImageFolder, tested: Tested) -> str:
    """Class numbers, not names: names may hold commas and quotes."""
    lines = zip(tested.rows.tolist(), data.labels[tested.rows].tolist(), tested.predictions.tolist(), strict=True)
    return "row,label,prediction\n" + "".join(f"{row},{label},{prediction}\n" for row, label, prediction in lines)
