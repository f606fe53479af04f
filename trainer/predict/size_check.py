"""Refuses a config that asks for a larger model than the weights beside it, before anything of it takes memory.

Packages come from anywhere, and a large number in a config.json costs its writer nothing.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn.modules.module import register_module_buffer_registration_hook, register_module_parameter_registration_hook

from trainer.predict.predictor import BadInput

# What a model has beside the weights in its file: masks, tables of positions, tied weights before they are tied.
MORE_NUMBERS = 32 << 20
MORE_TENSORS = 1000


class _TooLarge(Exception):
    """Ends the building."""


def check_size(folder: Path, config: dict[str, Any], build: Callable[[], nn.Module]) -> None:
    """Has the model built on the meta device, where numbers take no memory, until it has twice what the files of ``folder`` hold.

    BadInput then, where ``config`` wants more layers than there are tensors, and where there is no file with weights. What else
    goes wrong is left to the real building, which tells it better.
    """
    shapes = list(_shapes(folder))
    num_numbers, num_tensors = sum(map(math.prod, shapes)), len(shapes)
    try:
        if _most_layers(config) > num_tensors + MORE_TENSORS:  # models make lists of so many things before the first layer
            raise _TooLarge
        with _at_most(2 * num_numbers + MORE_NUMBERS, 2 * num_tensors + MORE_TENSORS), torch.device("meta"):
            build()
    except _TooLarge:
        raise BadInput(
            f"config.json asks for a far larger model than its weights, which are {num_numbers:,} numbers in {num_tensors:,} tensors"
        ) from None
    except Exception:  # why: some models cannot be built without numbers; a broken config is found again below
        return


def _shapes(folder: Path) -> Iterator[list[int]]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(f"{folder.name} is no whole package: it has no model.safetensors")
    for path in files:
        try:
            with safe_open(path, framework="pt") as tensors:
                yield from [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError) as error:
            raise BadInput(f"the weights in {path.name} cannot be read: {error}") from None


def _most_layers(config: dict[str, Any]) -> int:
    """The largest number under a name that says layers, depth or blocks, however deep inside."""
    found = [0]
    for name, value in config.items():
        if isinstance(value, dict):
            found.append(_most_layers(value))
        elif isinstance(value, int) and any(word in name for word in ("layer", "depth", "block")):
            found.append(value)
    return max(found)


@contextmanager
def _at_most(max_numbers: int, max_tensors: int) -> Iterator[None]:
    """While entered, a module that is given one parameter or buffer too many raises _TooLarge."""
    numbers = tensors = 0

    def count(_module: nn.Module, _name: str, tensor: Any) -> None:
        nonlocal numbers, tensors
        if isinstance(tensor, torch.Tensor):
            numbers, tensors = numbers + tensor.numel(), tensors + 1
        if numbers > max_numbers or tensors > max_tensors:
            raise _TooLarge

    handles = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
