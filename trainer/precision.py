"""In what number format a model computes. Weights and their updates are float32 always; autocast lowers what may be lowered."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from core.recipes.sections.training import TrainingKnobs

Precision = Literal["fp32", "tf32", "bf16", "fp16"]


def chosen_precision(device: torch.device, knobs: TrainingKnobs) -> Precision:
    """What "auto" comes to: bf16 on a GPU that has it, else fp32. ValueError for fp16 without a GPU: nothing there is faster for it."""
    if knobs.precision == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if knobs.precision == "fp16" and device.type != "cuda":
        raise ValueError("training.precision: fp16 needs a GPU; bf16 works on CPUs too")
    return knobs.precision


def autocast(device: torch.device, knobs: TrainingKnobs) -> AbstractContextManager[object]:
    """Around forward passes. tf32 is a property of the process: matrix products on the GPU round their inputs to 10 bits."""
    precision = chosen_precision(device, knobs)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    if precision in ("fp32", "tf32"):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


def scaler(device: torch.device, knobs: TrainingKnobs) -> torch.amp.GradScaler | None:
    """For fp16, whose smallest gradients would vanish: the loss is scaled up, the gradient down again. An infinite number in any
    rank's part of the gradient makes all skip the update."""
    return torch.amp.GradScaler(device.type) if chosen_precision(device, knobs) == "fp16" else None
