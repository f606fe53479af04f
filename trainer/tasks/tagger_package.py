"""What a tagger's package holds beside what every package does."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainer.data.text.tokenizers import FILE
from trainer.data.words import VOCABULARY, Batch
from trainer.package import Export, Package, described
from trainer.tagging import INPUTS
from trainer.tasks.task import Tested

if TYPE_CHECKING:
    from trainer.tasks.token_classification import TokenClassification

NUM_EXAMPLES = 8
LONGEST_UNROLLED = 128  # words; torch writes a recurrent layer out step by step, and a longer program is no use to anyone


def package_of(task: "TokenClassification", model: nn.Module, tested: Tested) -> Package:
    architecture = task.architecture()
    is_own = architecture["family"] != "transformers"
    ours = describe(task, model)

    def write(folder: Path) -> None:
        if not is_own:
            importlib.import_module("trainer.models.hf").save_hf(model, folder, getattr(task.reader, "tokenizer", None), ours)
        task.reader.save(folder)

    return Package(
        config={**ours, "architecture": architecture} if is_own else None,
        predictions=tested.predictions,
        export=export_of(task, architecture["family"]),
        data_report={**task.findings.report(), "splits": task.data.splits.sizes()},
        files=write,
        facts={"Network": task.spec.model.family, "Types": ", ".join(name[2:] for name in task.data.names[1::2])},
    )


def describe(task: "TokenClassification", model: nn.Module) -> dict[str, Any]:
    inputs = {
        "words": "int64 (batch, words), numbers from vocabulary.json: its list starts with 2; 0 is padding, 1 unknown",
        "letters": "int64 (batch, words, letters), likewise",
        "ids": "int64 (batch, tokens), token numbers of tokenizer.json",
        "mask": "bool, true on words or tokens and false on padding",
    }
    used = ("ids", "mask") if _by_tokens(task) else ("words", "letters", "mask")
    return described(
        task.spec.recipe,
        model,
        labels=task.data.names,
        preprocessing={"vocabulary": FILE if _by_tokens(task) else VOCABULARY, "longest": task.reader.longest},
        input={"order": list(used), **{name: inputs[name] for name in used}},
        output={
            "shape": ["batch", "places", len(task.data.names)],
            "dtype": "float32",
            "meaning": "scores of each tag; of tokens, the first one of a word counts. A second output, with a CRF, holds the scores of "
            "a tag (column) behind another (row), then those of the first and of the last tag",
        },
    )


def export_of(task: "TokenClassification", family: str) -> Export | None:
    """Any number of sentences; of encoders of any length, of recurrent networks of one, that of the longest in the test split."""
    if family == "transformers":
        return None
    lengths = [len(task.data.words[row]) for row in task.data.splits.test]
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))[:NUM_EXAMPLES]
    batch = task.batch(task.data.splits.test[order])
    if family == "recurrent-tagger":
        if batch["mask"].shape[1] > LONGEST_UNROLLED:
            return None
        return Export(example=_inputs(batch), dynamic={name: {0: "batch"} for name in ("words", "letters", "mask")})
    dynamic = {name: {0: "batch", 1: f"length<={task.reader.longest}"} for name in ("ids", "mask")}
    return Export(example=_inputs(batch), dynamic=dynamic)


def _by_tokens(task: "TokenClassification") -> bool:
    return hasattr(task.reader, "tokenizer")


def _inputs(batch: Batch) -> tuple[torch.Tensor, ...]:
    return tuple(batch[name] for name in INPUTS if name in batch)
