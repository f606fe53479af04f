"""Starting from an earlier model: the weights of its package go into a new model of the same architecture."""

from pathlib import Path

from torch import nn

from trainer.errors import InvalidData, StorageFailed
from trainer.tensor_files import Tensors, read_tensors

WEIGHTS = "model.safetensors"
MOST_SAID = 10


def start_from(model: nn.Module, package: Path) -> None:
    """Loads parameters and buffers, the normalisation included: the weights were trained behind it.

    InvalidData says which tensors do not fit; then the model is as it was.
    """
    try:
        tensors = read_tensors(package / WEIGHTS)
    except StorageFailed as error:
        raise InvalidData([f"the base model has no usable {WEIGHTS}: {error}"]) from error
    if problems := differences(model.state_dict(), tensors):
        rest = [f"and {len(problems) - MOST_SAID} more"] if len(problems) > MOST_SAID else []
        raise InvalidData(["the base model has another architecture", *problems[:MOST_SAID], *rest])
    model.load_state_dict(tensors)


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
