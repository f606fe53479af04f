"""An optimiser's memory under the names of the parameters it belongs to, so that it does not depend on how the model is spread.

Its knobs are not in it: the spec has those.
"""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from trainer.tensor_files import Tensors

Numbers = dict[str, dict[str, Any]]  # by parameter, then by name

# "#" is in no name of a parameter.
SEPARATOR = "#"


def memory_tensors(model: nn.Module, optimizer: Optimizer) -> Tensors:
    """By ``<parameter>#<name>``; not copies. Empty before the first step, and without parameters that are frozen."""
    return {
        f"{parameter}{SEPARATOR}{name}": value
        for parameter, memory in _memory(model, optimizer).items()
        for name, value in memory.items()
        if isinstance(value, torch.Tensor)
    }


def memory_numbers(model: nn.Module, optimizer: Optimizer) -> Numbers:
    """What is no tensor: counters, mostly."""
    numbers = {
        parameter: {name: value for name, value in memory.items() if not isinstance(value, torch.Tensor)}
        for parameter, memory in _memory(model, optimizer).items()
    }
    return {parameter: own for parameter, own in numbers.items() if own}


def make_memory(model: nn.Module, optimizer: Optimizer, owners: set[str]) -> None:
    """Lets the optimiser lay out its memory for the parameters that ``owners`` names, by a step without gradient and without rate.

    Only the optimiser knows which tensors it keeps, of which shape and on which device. What is in them, and in the weights,
    is replaced afterwards.
    """
    if not owners:
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for name, parameter in model.named_parameters():
        parameter.grad = torch.zeros_like(parameter) if name in owners else None
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def set_numbers(model: nn.Module, optimizer: Optimizer, numbers: Numbers) -> None:
    for parameter, memory in _memory(model, optimizer).items():
        memory.update(numbers.get(parameter, {}))


def owner_of(key: str) -> str:
    """The parameter that a key of ``memory_tensors`` belongs to."""
    return key.split(SEPARATOR, 1)[0]


def _memory(model: nn.Module, optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    return {name: optimizer.state[parameter] for name, parameter in model.named_parameters() if parameter in optimizer.state}
