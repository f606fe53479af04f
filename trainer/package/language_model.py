"""The package of a causal language model: its tokenizer beside its weights, and what it wrote while it learned."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.recipes.causal_language_modeling import CausalLanguageModelingSpec
from trainer.data.corpus import ROLES
from trainer.data.language import Language
from trainer.data.text.tokenizers import FILE
from trainer.package.contents import Export, Package, described
from trainer.package.write import write_package
from trainer.state import Run, State
from trainer.tasks.task import Tested

SAMPLES = "samples.jsonl"


def package_language_model(
    run: Run,
    model: nn.Module,
    state: State,
    tested: Tested,
    *,
    language: Language,
    architecture: dict[str, Any],
    samples: list[dict[str, Any]],
    example: torch.Tensor,
) -> None:
    """``samples`` are texts of this attempt's evaluations, the last one by the packaged weights; ``example`` (N, T) token numbers."""
    spec = run.file.spec
    assert isinstance(spec, CausalLanguageModelingSpec)
    config = describe(spec, language, model)
    is_own = architecture["family"] != "transformers"
    package = Package(
        config={**config, "architecture": architecture} if is_own else None,
        metrics={"samples": samples[-1:], "test_split": "its own" if language.has_test else "the validation split"},
        export=Export((example,), {"tokens": {0: "batch", 1: f"time<={spec.data.context_length}"}}) if is_own else None,
        data_report=language.report,
        files=_writer(language, samples, model, None if is_own else config),
        facts={"Vocabulary": f"{language.tokenizer.vocab_size:,} tokens", "Context": f"{spec.data.context_length:,} tokens"},
    )
    write_package(run, model, state, tested, package)


def describe(spec: CausalLanguageModelingSpec, language: Language, model: nn.Module) -> dict[str, Any]:
    return described(
        spec.recipe,
        model,
        labels=[],
        preprocessing={
            "tokenizer": FILE,
            "context_length": spec.data.context_length,
            "format": language.train.format,
            "roles": ROLES,
            "end_id": language.tokenizer.end_id,
        },
        input={"shape": ["batch", f"up to {spec.data.context_length}"], "dtype": "int64", "values": "token numbers of tokenizer.json"},
        output={"shape": ["batch", "tokens", language.tokenizer.vocab_size], "dtype": "float32", "meaning": "logits of each next token"},
    )


def _writer(language: Language, samples: list[dict[str, Any]], model: nn.Module, ours: dict[str, Any] | None) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        if ours is not None:
            importlib.import_module("trainer.models.hf").save_hf(model, folder, language.tokenizer, ours)
        language.tokenizer.save(folder / FILE)
        lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
        (folder / SAMPLES).write_text(lines, "utf-8")

    return write
