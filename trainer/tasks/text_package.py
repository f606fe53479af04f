"""What a text classifier's package holds beside what every package does."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.class_report import class_details, confusion_matrix, listed, probability_columns
from trainer.data.text.columns import LabelledTexts
from trainer.data.text.tokenizers import FILE
from trainer.package import Export, Package, described
from trainer.tasks.task import Rows, Tested

if TYPE_CHECKING:
    from trainer.tasks.text_classification import TextClassification

NUM_EXAMPLES = 8
LONGEST_UNROLLED = 128  # tokens; torch writes a recurrent layer out step by step, and a longer program is no use to anyone


@dataclass(frozen=True, slots=True)
class TextResult:
    """The test split under the final weights: ``probabilities`` (N, K) float32 in the order of ``rows``."""

    data: LabelledTexts
    rows: Rows
    probabilities: npt.NDArray[np.float32]

    def columns(self) -> dict[str, list[Any]]:
        """Of predictions.csv."""
        names, data = np.array(self.data.classes, dtype=object), self.data
        best = self.probabilities.argmax(1)
        found: dict[str, list[Any]] = {"row": self.rows.tolist(), "text": [data.texts[row] for row in self.rows]}
        if data.pairs is not None:
            found["text_pair"] = [data.pairs[row] for row in self.rows]
        found |= {"label": names[data.labels[self.rows]].tolist(), "prediction": names[best].tolist()}
        return found | probability_columns(self.probabilities)

    def details(self) -> dict[str, Any]:
        """Of metrics.json: each class's precision, recall and F1."""
        return class_details(self.data.labels[self.rows], self.probabilities.argmax(1), self.data.classes)


def package_of(task: "TextClassification", model: nn.Module, tested: Tested) -> Package:
    data, family = task.data, task.spec.model.family
    number = {name: position for position, name in enumerate(data.classes)}
    pairs = ([number[name] for name in tested.predictions[column]] for column in ("label", "prediction"))
    labels, predictions = (np.array(column, dtype=np.int64) for column in pairs)
    return Package(
        config=None if family == "transformers" else {"architecture": task.architecture(), **describe(task, model)},
        predictions=tested.predictions,
        export=export_of(task, family),
        confusion=confusion_matrix(labels, predictions, data.classes),
        data_report={**task.findings.report(), "splits": task.splits.sizes()},
        files=lambda folder: write_files(task, model, folder),
        facts={
            "Network": family,
            "Tokens": f"{task.tokenizer.vocab_size:,} {'of the base model' if task.plan.file else task.plan.kind}",
            "Classes": listed(data.classes),
        },
    )


def write_files(task: "TextClassification", model: nn.Module, folder: Path) -> None:
    """The tokenizer; of a Transformers model everything that its library reads."""
    if task.spec.model.family != "transformers":
        task.tokenizer.save(folder / FILE)
        return
    hf = importlib.import_module("trainer.models.hf")  # the library takes seconds to import
    hf.save_hf(model, folder, task.tokenizer, describe(task, model))


def describe(task: "TextClassification", model: nn.Module) -> dict[str, Any]:
    inputs = {"ids": "int64, token numbers by tokenizer.json", "mask": "bool, true on tokens and false on the padding behind them"}
    if task.uses_types:
        inputs["types"] = "int64, 0 for the first text of a pair and 1 for the second"
    return described(
        task.spec.recipe,
        model,
        labels=task.data.classes,
        preprocessing={
            "tokenizer": FILE,
            "max_length": task.plan.max_length,
            "pad_id": task.tokenizer.pad_id,
            "text_column": task.data.columns[0],
            "text_pair_column": task.data.columns[1],
        },
        input={"shape": ["batch", "length"], "order": list(inputs), **inputs},
        output={"shape": ["batch", len(task.data.classes)], "dtype": "float32", "meaning": "logits; softmax gives probabilities"},
    )


def export_of(task: "TextClassification", family: str) -> Export | None:
    """Any number of texts of any length; of recurrent networks texts padded to the longest of the test split."""
    if family == "transformers":
        return None
    rows, longest = task.splits.test, task.plan.max_length
    if family in ("lstm", "gru"):
        return _unrolled(task, rows)
    dynamic = {name: {0: "batch", 1: f"length<={longest}"} for name in ("ids", "mask", "types")}
    by_length = rows[np.argsort(task.ids.lengths()[rows], kind="stable")]
    middle = by_length[len(by_length) // 2 :][:NUM_EXAMPLES]
    examples = [_inputs(task, part) for part in (middle, by_length[:NUM_EXAMPLES], by_length[-NUM_EXAMPLES:])]
    used = {name: dynamic[name] for name, _ in zip(dynamic, examples[0], strict=False)}
    return Export(example=examples[0], dynamic=used, also=tuple(examples[1:]))


def _unrolled(task: "TextClassification", rows: Rows) -> Export | None:
    length = int(task.ids.lengths()[rows].max())
    if length > LONGEST_UNROLLED:
        return None
    inputs = _inputs(task, rows[np.argsort(-task.ids.lengths()[rows], kind="stable")][:NUM_EXAMPLES])
    return Export(example=inputs, dynamic={name: {0: "batch"} for name in ("ids", "mask")})


def _inputs(task: "TextClassification", rows: Rows) -> tuple[torch.Tensor, ...]:
    return tuple(task.batch(rows).values())
