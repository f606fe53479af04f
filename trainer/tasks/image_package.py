"""What an image classifier's package holds beside what every package does."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.class_scores import confusion_of, per_class
from trainer.data.folder import ImageFolder
from trainer.package import Export, Package
from trainer.tasks.task import Tested

if TYPE_CHECKING:
    from trainer.tasks.image_classification import ImageClassification

NUM_EXAMPLES = 8
MOST_LISTED_CLASSES = 1000  # beyond, a matrix of all pairs is no use to anyone
MOST_PROBABILITIES = 20  # columns of predictions.csv

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The test split under the final weights: ``probabilities`` (N, K) float32 in the order of ``rows``."""

    rows: Ints
    labels: Ints
    probabilities: npt.NDArray[np.float32]

    def columns(self, data: ImageFolder) -> dict[str, list[Any]]:
        """Of predictions.csv. Class numbers, for names may be anything; where images came from files, which one."""
        predictions = self.probabilities.argmax(1)
        found: dict[str, list[Any]] = {"row": self.rows.tolist(), "label": self.labels.tolist(), "prediction": predictions.tolist()}
        probabilities = self.probabilities.astype(np.float64).round(6)
        found["probability"] = probabilities.max(1).tolist()
        if len(data.classes) <= MOST_PROBABILITIES:
            found |= {f"probability_{number}": column.tolist() for number, column in enumerate(probabilities.T)}
        if files := data.files():
            found["file"] = [files[row] for row in self.rows]
        return found

    def details(self, data: ImageFolder) -> dict[str, Any]:
        """Of metrics.json: each class's precision, recall and F1."""
        if len(data.classes) > MOST_LISTED_CLASSES:
            return {}
        counts = confusion_of(self.labels, self.probabilities.argmax(1), len(data.classes))
        return {"per_class": per_class(counts, list(data.classes))}


def package_of(task: "ImageClassification", model: nn.Module, tested: Tested) -> Package:
    data = task.data
    labels, predictions = (np.array(tested.predictions[name], dtype=np.int64) for name in ("label", "prediction"))
    names = list(data.classes)
    is_listed = len(names) <= MOST_LISTED_CLASSES
    example = np.ascontiguousarray(data.images[np.array(tested.predictions["row"][:NUM_EXAMPLES])])
    return Package(
        config=describe(task, model),
        predictions=tested.predictions,
        export=Export(example=(torch.from_numpy(example),), dynamic={"images": {0: "batch"}}),
        confusion=(names, confusion_of(labels, predictions, len(names))) if is_listed else None,
        data_report=task.data_report(),
        facts={"Network": str(task.spec.model.family), "Images": _shown(data), "Classes": _listed(names)},
    )


def describe(task: "ImageClassification", model: nn.Module) -> dict[str, Any]:
    data, (height, width) = task.data, task.data.size
    return {
        "format": 2,
        "recipe": task.spec.recipe,
        "architecture": task.architecture(),
        "labels": list(data.classes),
        "preprocessing": {
            "height": height,
            "width": width,
            "num_channels": data.num_channels,
            "resize": "the shorter side is scaled to fit and the middle is cut out",
            "pixels": "8 bits; the model normalises them itself",
            "image_column": task.spec.data.image_column,
        },
        "input": {
            "shape": ["batch", *map(int, data.images.shape[1:])],
            "dtype": "uint8",
            "layout": "NHW" if data.images.ndim == 3 else "NHWC",
            "values": "pixels as they are stored in the dataset; the model normalises them itself",
        },
        "normalisation": {"mean": list(task.normalisation.mean), "deviation": list(task.normalisation.deviation), "inside_model": True},
        "output": {"shape": ["batch", len(data.classes)], "dtype": "float32", "meaning": "logits; softmax gives probabilities"},
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _shown(data: ImageFolder) -> str:
    colours = {1: "grey", 3: "RGB"}.get(data.num_channels, f"{data.num_channels} channels")
    return f"{data.size[0]} x {data.size[1]} pixels, {colours}"


def _listed(names: list[str], most: int = 50) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
