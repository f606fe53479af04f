"""What a recipe hands over to be packaged."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

FORMAT = 2  # of config.json
Confusion = tuple[list[str], npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Export:
    """How a model becomes ``model.pt2``.

    ``example``: what ``forward`` takes, in its order: real rows of the test split, a few of them (8 is enough).
    ``dynamic``: which axes may have any size, as {parameter of forward: {axis: name}}; axis 0 of a batch is "batch".
    A name may end in an upper bound: {"ids": {0: "batch", 1: "time<=256"}}.
    ``also``: further inputs that the program must take, for axes other than the batch: one of another length says whether
    the length is free (torch unrolls recurrent layers, and then it is not).
    """

    example: tuple[torch.Tensor, ...]
    dynamic: dict[str, dict[int, str]]
    also: tuple[tuple[torch.Tensor, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """``config`` is config.json (None where ``files`` writes it, as Transformers models do).

    ``metrics`` is added to the scores in metrics.json; ``predictions`` are columns of equal length; ``confusion`` is
    (label names, counts with a row per label and a column per prediction). ``data_report`` is ``Findings.report()`` and,
    where there are any, "splits": {"train": rows, ...}; the SHA-256 of the data is added. ``files`` is called
    with the folder to write what else belongs there. ``facts`` are lines of the card: {"Vocabulary": "8,000 pieces, BPE"}.
    """

    config: dict[str, Any] | None
    metrics: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, list[Any]] = field(default_factory=dict)
    export: Export | None = None
    confusion: Confusion | None = None
    data_report: dict[str, Any] = field(default_factory=dict)
    files: Callable[[Path], None] | None = None
    facts: dict[str, str] = field(default_factory=dict)


def described(recipe: str, model: nn.Module, **own: Any) -> dict[str, Any]:
    """What config.json says of every model; ``own`` is the recipe's: architecture, labels, preprocessing, input, output."""
    return {"format": FORMAT, "recipe": recipe, **own, "num_parameters": sum(parameter.numel() for parameter in model.parameters())}
