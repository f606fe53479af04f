"""Starting from an earlier model: its weights go into a new one, and the spec says which of them learn on.

A model says of itself: ``head_names``, prefixes of the parameters of its head, which may differ from the base model's;
``blocks``, the repeated parts, input side first; ``lora_targets``, the linear layers of its attention.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from core.recipes.sections.fine_tuning import FineTuning
from trainer.errors import InvalidData, StorageFailed
from trainer.tensor_files import Tensors, read_tensors

WEIGHTS = "model.safetensors"
LEAST_SHARE = 0.5  # of the body's numbers that must come from the base model: less is another architecture that fits by chance
MOST_SAID = 10


@dataclass(frozen=True, slots=True)
class Taken:
    """Which tensors came from the base model, and which stay as they were made; why, by name."""

    names: frozenset[str]
    differences: tuple[str, ...] = ()

    def told(self) -> str:
        """One line for the log."""
        rest = f", and {len(self.differences) - MOST_SAID} more" if len(self.differences) > MOST_SAID else ""
        but = f"; but {', '.join(self.differences[:MOST_SAID])}{rest}" if self.differences else ""
        return f"from the base model: {len(self.names)} tensors{but}"


def start_from(model: nn.Module, folder: Path, fine_tuning: FineTuning | None) -> Taken:
    """Loads what fits by name and shape, parameters and buffers, and leaves trainable what is to be trained.

    InvalidData says what differs when the body of the base model (all but its head) does not fit; then the model is as it was.
    """
    taken = load(model, folder)
    if fine_tuning is not None:
        freeze(model, fine_tuning, fresh=frozenset(model.state_dict()) - taken.names)
    return taken


def load(model: nn.Module, folder: Path) -> Taken:
    """``folder`` is a package, or of a Transformers model anything that its library loads."""
    read: Any = getattr(model, "read_weights", None)
    offered: Tensors = _read(folder) if read is None else read(folder)
    wanted = model.state_dict()
    fitting = {name for name in wanted.keys() & offered.keys() if wanted[name].shape == offered[name].shape}
    found = differences(wanted, offered)
    body = {name: tensor.numel() for name, tensor in wanted.items() if not _is_in_head(model, name)}
    if sum(size for name, size in body.items() if name in fitting) < LEAST_SHARE * sum(body.values()) or not fitting:
        rest = [f"and {len(found) - MOST_SAID} more"] if len(found) > MOST_SAID else []
        raise InvalidData(["the base model has another architecture", *found[:MOST_SAID], *rest])
    with torch.no_grad():
        for name in fitting:
            wanted[name].copy_(offered[name])
    return Taken(names=frozenset(fitting), differences=tuple(found))


def differences(wanted: Tensors, offered: Tensors) -> list[str]:
    """What keeps ``offered`` from taking the place of ``wanted``, by name."""
    missing = [f"{name} is missing" for name in sorted(wanted.keys() - offered.keys())]
    unknown = [f"{name} has no place in the new model" for name in sorted(offered.keys() - wanted.keys())]
    shapes = [
        f"{name} is {tuple(offered[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & offered.keys())
        if offered[name].shape != wanted[name].shape
    ]
    return missing + unknown + shapes


def freeze(model: nn.Module, fine_tuning: FineTuning, *, fresh: frozenset[str] = frozenset()) -> None:
    """Leaves trainable what ``fine_tuning.train`` says, and in any case the ``fresh`` part of the head.

    Call it before the model is spread over ranks and before its optimiser is made. ValueError when the model has no such part.
    """
    if fine_tuning.train == "all":
        return
    if fine_tuning.train == "lora":
        targets = tuple(getattr(model, "lora_targets", ()))
        if not targets:
            raise ValueError(f"fine_tuning.train lora: {type(model).__name__} has no attention whose layers could be adapted")
        names = {parameter: name for name, parameter in model.named_parameters()}
        importlib.import_module("trainer.lora").inject(model, targets, fine_tuning)
        # The output of a language model is its input table too, learned as the rest was; any other head is new to its task.
        _train({p for p, name in names.items() if _is_in_head(model, name) and (name in fresh or not _is_pretrained_head(model))})
    else:
        model.requires_grad_(False)
        _train({parameter for name, parameter in model.named_parameters() if _is_in_head(model, name)})
        if fine_tuning.train == "last_layers":
            _train({parameter for block in _last_blocks(model, fine_tuning.num_layers) for parameter in block.parameters()})
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"fine_tuning.train {fine_tuning.train}: {type(model).__name__} has nothing of that kind to train")
    _still_batch_norms(model)


def merge(model: nn.Module, fine_tuning: FineTuning | None) -> None:
    """Makes a model that ``freeze`` was applied to plain again, in place: adapters go into their layers, names are the old ones."""
    if fine_tuning is not None and fine_tuning.train == "lora":
        importlib.import_module("trainer.lora").merge(model)


def _read(folder: Path) -> Tensors:
    try:
        return read_tensors(folder / WEIGHTS)
    except StorageFailed as error:
        raise InvalidData([f"the base model has no usable {WEIGHTS}: {error}"]) from error


def _is_in_head(model: nn.Module, name: str) -> bool:
    return any(name == head or name.startswith(head.rstrip(".") + ".") for head in getattr(model, "head_names", ()))


def _is_pretrained_head(model: nn.Module) -> bool:
    return bool(getattr(model, "head_is_pretrained", False))


def _last_blocks(model: nn.Module, num: int) -> list[nn.Module]:
    blocks = list(getattr(model, "blocks", ()))
    if not blocks:
        raise ValueError(f"fine_tuning.train last_layers: {type(model).__name__} has no repeated blocks")
    return blocks[-num:]


def _train(parameters: set[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(True)


def _still_batch_norms(model: nn.Module) -> None:
    """A batch norm whose weights do not learn keeps the statistics it came with: it stays in eval mode whatever the model does."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not any(parameter.requires_grad for parameter in module.parameters()):
            module.register_forward_pre_hook(_to_eval)


def _to_eval(module: nn.Module, inputs: Any) -> None:
    module.train(False)
