"""Tensors to files and back, by safetensors: no pickle, nothing executes, and the same tensors give the same bytes."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trainer.errors import StorageFailed

Tensors = dict[str, torch.Tensor]


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Writes CPU copies in the order of their names. OSError when the disk refuses.

    Tied weights are written once for each of their names: the format has no references.
    """
    ordered: Tensors = {}
    seen: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu").contiguous()
        place = tensor.untyped_storage().data_ptr()
        ordered[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    try:
        save_file(ordered, path)
    except SafetensorError as error:
        raise OSError(f"{path.name}: {error}") from error


def read_tensors(path: Path) -> Tensors:
    """The tensors on the CPU; StorageFailed when the file is missing or is not what safetensors writes."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise StorageFailed(f"{path.parent.name}/{path.name} cannot be read: {error}") from error
