"""What of a base model is trained on. Ignored, and refused, where the spec has no ``base_model``."""

from typing import Literal

from pydantic import Field

from core.recipes.sections.training import TrainingKnobs
from core.spec import JobSpec, Section


class FineTuning(Section):
    """LoRA: Hu et al. 2021 (arXiv:2106.09685); the packaged weights have the adapters merged in."""

    train: Literal["all", "head", "last_layers", "lora"] = "all"
    num_layers: int = Field(default=1, ge=1, le=1000, description="last_layers: how many blocks, beside the head")
    lora_rank: int = Field(default=8, ge=1, le=1024)
    lora_alpha: float = Field(default=16.0, gt=0, le=4096)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)


def check_fine_tuning(spec: JobSpec, knobs: TrainingKnobs) -> None:
    """ValueError when there is no base model to tune, or its adapters could not be shared; for the validators of recipes."""
    if not isinstance(spec.fine_tuning, FineTuning):
        return
    if spec.base_model is None:
        raise ValueError("fine_tuning says what of a base model is trained on, and there is no base_model")
    if spec.fine_tuning.train == "lora" and knobs.tensor_parallel > 1:
        raise ValueError("fine_tuning.train lora does not go with training.tensor_parallel; strategy fsdp does")
