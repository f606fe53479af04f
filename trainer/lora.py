"""Low-rank adapters beside frozen linear layers (LoRA: Hu et al. 2021, arXiv:2106.09685), put in and taken out by PEFT.

Loaded by name from ``trainer.fine_tuning``: PEFT imports Transformers, which takes seconds.
"""

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from core.recipes.sections.fine_tuning import FineTuning


def inject(model: nn.Module, targets: tuple[str, ...], fine_tuning: FineTuning) -> None:
    """Puts adapters beside the modules whose names end in one of ``targets``. They alone require gradients afterwards.

    B starts at 0: the model computes what it did before. A layer ``x`` becomes ``x.base_layer`` in the state dict.
    """
    config = LoraConfig(
        r=fine_tuning.lora_rank,
        lora_alpha=fine_tuning.lora_alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=fine_tuning.lora_dropout,
        target_modules=list(targets),
        # GPT-2 of the Transformers library keeps its matrices transposed; its other models have plain linear layers.
        fan_in_fan_out=any(isinstance(module, Conv1D) and name.endswith(targets) for name, module in model.named_modules()),
    )
    inject_adapter_in_model(config, model)


def merge(model: nn.Module) -> None:
    """Adds each adapter to the layer beside it and takes it out, in place: parameters have their old names again."""
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, module.get_base_layer())
