"""The exported program: written, read back, and compared with the model on real rows before anyone gets it."""

import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim

from trainer.errors import ExportDiffers
from trainer.package.contents import Export

Tensors = tuple[torch.Tensor, ...]

TOLERANCE = 1e-4
BATCH = "batch"


def export_program(model: nn.Module, export: Export, path: Path, *, tolerance: float = TOLERANCE) -> None:
    """Writes ``path``. Raises ExportDiffers when the program, read back, does not compute what the model computes.

    It is tried on the example, on its first row alone, and on what else there is, so that a size that was taken for a
    constant is found out.
    """
    axes = _axes(model, export)
    shapes = tuple({number: _dim(text) for number, text in axis.items()} or None for axis in axes)
    with torch.no_grad():
        program = torch.export.export(model, _batches(export.example, axes, _at_least_two), dynamic_shapes=shapes)
        written = io.BytesIO()  # torch would report a full disk as a RuntimeError
        torch.export.save(program, written)
        path.write_bytes(written.getvalue())
        loaded = torch.export.load(path).module()
        for example in (export.example, _batches(export.example, axes, lambda tensor: tensor[:1]), *export.also):
            _compare(_run(loaded, example), model(*example), tolerance)


def _run(program: nn.Module, example: Tensors) -> Any:
    """A program guards the sizes that it was made for by assertions."""
    try:
        return program(*example)
    except AssertionError as error:
        sizes = ", ".join(str(tuple(tensor.shape)) for tensor in example)
        raise ExportDiffers(f"model.pt2 does not take inputs of {sizes}: {error}") from error


def _compare(found: Any, expected: Any, tolerance: float) -> None:
    for ours, theirs in zip(_tensors(found), _tensors(expected), strict=True):
        if ours.shape != theirs.shape:
            raise ExportDiffers(f"model.pt2 gives {tuple(ours.shape)} where the trained model gives {tuple(theirs.shape)}")
        if not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise ExportDiffers(f"model.pt2 differs from the trained model by up to {(ours - theirs).abs().max().item():.2g}")


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, dict):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _tensors(value)


def _axes(model: nn.Module, export: Export) -> list[dict[int, str]]:
    """The dynamic axes of each argument, in the order of ``forward``; empty for one of fixed shape."""
    names = list(inspect.signature(model.forward).parameters)[: len(export.example)]
    unknown = export.dynamic.keys() - set(names)
    if unknown:
        raise ValueError(f"{type(model).__name__}.forward takes {', '.join(names)}, not {', '.join(sorted(unknown))}")
    return [export.dynamic.get(name, {}) for name in names]


def _dim(text: str) -> Any:
    """Torch finds by itself which sizes must agree; it still refuses to take one of these for a constant."""
    _, _, limit = text.partition("<=")
    return Dim.DYNAMIC(min=1, max=int(limit)) if limit else Dim.DYNAMIC(min=1)


def _batches(example: Tensors, axes: list[dict[int, str]], change: Callable[[torch.Tensor], torch.Tensor]) -> Tensors:
    """The example with ``change`` applied to the arguments whose axis 0 is the batch."""
    return tuple(change(tensor) if axis.get(0) == BATCH else tensor for tensor, axis in zip(example, axes, strict=True))


def _at_least_two(tensor: torch.Tensor) -> torch.Tensor:
    """A batch of one would be taken for a constant."""
    return tensor if len(tensor) > 1 else torch.cat([tensor, tensor])
