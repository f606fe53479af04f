"""What an image classifier's package holds beside what every package does."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.class_report import class_details, confusion_matrix, listed, probability_columns
from trainer.data.folder import ImageFolder
from trainer.package import Export, Package, described
from trainer.tasks.task import Tested

if TYPE_CHECKING:
    from trainer.tasks.image_classification import ImageClassification

NUM_EXAMPLES = 8

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
        found |= probability_columns(self.probabilities)
        if files := data.files():
            found["file"] = [files[row] for row in self.rows]
        return found

    def details(self, data: ImageFolder) -> dict[str, Any]:
        """Of metrics.json: each class's precision, recall and F1."""
        return class_details(self.labels, self.probabilities.argmax(1), data.classes)


def package_of(task: "ImageClassification", model: nn.Module, tested: Tested) -> Package:
    data = task.data
    labels, predictions = (np.array(tested.predictions[name], dtype=np.int64) for name in ("label", "prediction"))
    example = np.ascontiguousarray(data.images[np.array(tested.predictions["row"][:NUM_EXAMPLES])])
    return Package(
        config=describe(task, model),
        predictions=tested.predictions,
        export=Export(example=(torch.from_numpy(example),), dynamic={"images": {0: "batch"}}),
        confusion=confusion_matrix(labels, predictions, data.classes),
        data_report=task.data_report(),
        facts={"Network": str(task.spec.model.family), "Images": _shown(data), "Classes": listed(data.classes)},
    )


def describe(task: "ImageClassification", model: nn.Module) -> dict[str, Any]:
    data, (height, width) = task.data, task.data.size
    return described(
        task.spec.recipe,
        model,
        architecture=task.architecture(),
        labels=list(data.classes),
        preprocessing={
            "height": height,
            "width": width,
            "num_channels": data.num_channels,
            "resize": "the shorter side is scaled to fit and the middle is cut out",
            "pixels": "8 bits; the model normalises them itself",
            "image_column": task.spec.data.image_column,
        },
        input={
            "shape": ["batch", *map(int, data.images.shape[1:])],
            "dtype": "uint8",
            "layout": "NHW" if data.images.ndim == 3 else "NHWC",
            "values": "pixels as they are stored in the dataset; the model normalises them itself",
        },
        normalisation={"mean": list(task.normalisation.mean), "deviation": list(task.normalisation.deviation), "inside_model": True},
        output={"shape": ["batch", len(data.classes)], "dtype": "float32", "meaning": "logits; softmax gives probabilities"},
    )


def _shown(data: ImageFolder) -> str:
    colours = {1: "grey", 3: "RGB"}.get(data.num_channels, f"{data.num_channels} channels")
    return f"{data.size[0]} x {data.size[1]} pixels, {colours}"
