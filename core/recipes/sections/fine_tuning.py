"""What of a base model is trained on. Refused where the spec has no ``base_model``."""

from typing import Literal

from pydantic import Field

from core.spec import Section


class FineTuning(Section):
    """LoRA: Hu et al. 2021 (arXiv:2106.09685); the packaged weights have the adapters merged in."""

    train: Literal["all", "head", "last_layers", "lora"] = "all"
    num_layers: int = Field(default=1, ge=1, le=1000, description="last_layers: how many blocks, beside the head")
    lora_rank: int = Field(default=8, ge=1, le=1024)
    lora_alpha: float = Field(default=16.0, gt=0, le=4096)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
