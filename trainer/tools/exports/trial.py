"""What an export is made of and tried on: a model, real inputs for it, and how far apart two answers may be."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.recipes.model_export import Model as Knobs
from trainer.errors import ExportDiffers
from trainer.predict.predictor import Axes, Predictor, Record

Batch = dict[str, torch.Tensor]
EXAMPLE_ROWS = 8


@dataclass(slots=True)
class Trial:
    """``folder`` is what is filled. ``max_error`` is the largest difference that was seen; ``facts`` go into export.json."""

    predictor: Predictor
    knobs: Knobs
    folder: Path
    records: Sequence[Record]
    max_error: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        return self.predictor.model

    @property
    def axes(self) -> Axes:
        return self.predictor.axes()

    def example(self) -> Batch:
        """Of at least two rows: a batch of one would be taken for a constant. Axes that the export fixes have their fixed size."""
        rows = self.records[:EXAMPLE_ROWS]
        with torch.no_grad():
            prepared = self.predictor.prepare(rows if len(rows) > 1 else [*rows, *rows])
        return {name: padded(tensor, self.predictor.fixed_sizes(self.records).get(name, {})) for name, tensor in prepared.items()}

    def batches(self) -> Iterator[Batch]:
        """All rows together, half of them, and some alone: other numbers of rows, and where rows differ in length other lengths."""
        middle = len(self.records) // 2
        for rows in (self.records, self.records[middle:], self.records[:1], self.records[-1:]):
            with torch.no_grad():
                yield self.predictor.prepare(rows)

    def compare(self, ask: Callable[[Batch], Any]) -> None:
        """Raises ExportDiffers unless ``ask`` gives for every batch what the model gives."""
        for batch in self.batches():
            with torch.no_grad():
                expected = list(tensors_of(self.model(**batch)))
            found = list(tensors_of(ask(batch)))
            if [tensor.shape for tensor in found] != [tensor.shape for tensor in expected]:
                shapes = [", ".join(str(tuple(tensor.shape)) for tensor in tensors) for tensors in (found, expected)]
                raise ExportDiffers(f"the export gives {shapes[0]} where the trained model gives {shapes[1]}")
            for ours, theirs in zip(found, expected, strict=True):
                self._compare(ours.double(), theirs.double())

    def _compare(self, ours: torch.Tensor, theirs: torch.Tensor) -> None:
        tolerance = self.knobs.tolerance
        errors = torch.where(ours == theirs, 0.0, (ours - theirs).abs())  # infinite ones may be equal
        worst = float(errors.nan_to_num(nan=float("inf")).max()) if errors.numel() else 0.0
        if not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise ExportDiffers(f"the export differs from the trained model by up to {worst:.2g}, and model.tolerance is {tolerance:g}")
        self.max_error = max(self.max_error, worst)


def padded(tensor: torch.Tensor, sizes: dict[int, int]) -> torch.Tensor:
    """Zeros behind, up to ``sizes`` by axis."""
    missing = [max(0, sizes.get(axis, size) - size) for axis, size in enumerate(tensor.shape)]
    return nn.functional.pad(tensor, [side for num in reversed(missing) for side in (0, num)]) if any(missing) else tensor


def tensors_of(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, list | tuple):
        for value in output:
            yield from tensors_of(value)
