"""From the knobs of a recogniser, what its data decides and its base model to the architecture that is built and packaged."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from core.recipes.sections.transformers import Transformers
from core.recipes.speech_recognition import Data, SpeechRecognitionSpec
from trainer.ctc import BLANK, Letters
from trainer.data.speech_corpus import Hearing
from trainer.errors import InvalidData
from trainer.state import Run

# Ranks would leave out different layers, and wait for each other's gradients for ever; and the library's masks refuse short utterances.
SAME_ON_EVERY_RANK = {"layerdrop": 0.0, "apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}


class SpeechBase:
    """What config.json of a base model says: ``ours`` is of a package of this recipe, ``config`` of a Transformers model; else empty."""

    def __init__(self, run: Run) -> None:
        path = Path(run.file.base_model_dir) / "config.json" if run.file.base_model_dir is not None else None
        content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path is not None and path.is_file() else {}
        ours = content.get("trainyard", content)
        self.ours: dict[str, Any] = ours if ours.get("recipe") == "speech-recognition" else {}
        self.config: dict[str, Any] = content if "model_type" in content else {}

    def hears_like(self, knobs: Data) -> Data:
        """The knobs with what decided about the base model's inputs."""
        known = self.ours.get("preprocessing", {})
        decided = {name: known[name] for name in ("sample_rate", "num_mels", "normalisation") if known.get(name) is not None}
        return knobs.model_copy(update=decided)

    def letters_for(self, texts: Sequence[str]) -> Letters:
        """Those of the training texts; the base model's where it has all of them, for then its head fits."""
        own, known = sorted(set("".join(texts))), self.ours.get("labels", [])
        return Letters(tuple(known if set(own) <= set(known) else own))


def architecture_of(spec: SpeechRecognitionSpec, base: SpeechBase, hearing: Hearing, letters: Letters) -> dict[str, Any]:
    if not isinstance(spec.model, Transformers):
        return {**spec.model.model_dump(), "num_mels": hearing.num_mels, "num_outputs": letters.num_outputs}
    config = spec.model.config or base.config
    if "conv_kernel" not in config:
        raise InvalidData(
            [f"a {config.get('model_type', 'base')} model does not hear waves by convolutions, as wav2vec2 does: no conv_kernel"]
        )
    kept = {name: value for name, value in config.items() if name not in ("vocab_size", "trainyard")}
    config = {**kept, **SAME_ON_EVERY_RANK, "pad_token_id": BLANK}
    return {"family": "transformers", "task": "ctc", "config": config, "vocab_size": letters.num_outputs}


def output_lengths(architecture: dict[str, Any], lengths: torch.Tensor) -> torch.Tensor:
    """(N,) frames or samples of the input to frames of the output; 0 for what is too short."""
    if architecture["family"] != "transformers":
        factor = int(architecture["subsampling"])
        return (lengths + factor - 1) // factor
    for kernel, stride in zip(architecture["config"]["conv_kernel"], architecture["config"]["conv_stride"], strict=True):
        lengths = (lengths - kernel) // stride + 1
    return lengths.clamp(min=0)
