"""What a recipe brings to predict with."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn


class BadInput(Exception):
    """What was asked for cannot be done; the message is one line for the person who asked."""


class Predictor(ABC):
    """Made from a verified package. ``config`` is our part of config.json; ``model`` has the weights, in eval mode, on ``device``.

    ``suffixes`` says which files are inputs: of a folder those are taken, in the order of their names. A recipe whose files
    hold many inputs each (tables, lines) is given the files all the same. Empty: inputs are texts, and of a file each line.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    or_texts: ClassVar[bool] = False  # takes texts as well, where no file of these suffixes is meant
    # What one thing to predict on is, and whether each gets exactly one prediction: for those that are sent one by one.
    takes: ClassVar[Literal["text", "row", "image", "audio"]] = "text"
    one_each: ClassVar[bool] = True

    def __init__(self, folder: Path, config: dict[str, Any], model: nn.Module) -> None:
        self.folder = folder
        self.config = config
        self.model = model
        self.batch_size = 32

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @abstractmethod
    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """One flat JSON object for each prediction, the input first (``{"input": ..., "label": ..., "probability": ...}``).

        ``inputs`` are files where ``suffixes`` names any, else texts. Raises BadInput for one that cannot be used. Grad is off.
        """
