"""A package whose model is ``model.onnx``: run by ONNX Runtime, called like the module that it was exported from."""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.predict.predictor import BadInput

FILE = "model.onnx"
NEEDED = "pip install trainyard[onnx]"


class OnnxModel(nn.Module):
    """On the CPU. Inputs of a fixed length are padded behind to it with zeros, which masks say are none; outputs are cut back."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session = session
        self.shapes: dict[str, list[Any]] = {one.name: one.shape for one in session.get_inputs()}
        self.nothing = nn.Parameter(torch.zeros(0), requires_grad=False)  # says which device it is on

    def forward(self, *given: torch.Tensor, **named: torch.Tensor) -> Any:
        inputs = dict(zip(self.shapes, given, strict=False)) | named
        padded = {name: _padded(tensor, self.shapes[name]) for name, tensor in inputs.items() if name in self.shapes}
        found = [torch.from_numpy(array) for array in self.session.run(None, {name: tensor.numpy() for name, tensor in padded.items()})]
        first = next(name for name in padded)
        if inputs[first].dim() > 1:
            given_length, fixed = inputs[first].shape[1], padded[first].shape[1]
            found = [out[:, :given_length] if fixed != given_length and out.dim() > 2 and out.shape[1] == fixed else out for out in found]
        return found[0] if len(found) == 1 else tuple(found)


def _padded(tensor: torch.Tensor, shape: list[Any]) -> torch.Tensor:
    missing = [want - have if isinstance(want, int) else 0 for want, have in zip(shape, tensor.shape, strict=True)]
    if any(num < 0 for num in missing):
        raise BadInput(f"an input of {tuple(tensor.shape)} is more than the exported program takes, which is {tuple(shape)}")
    sides = [side for num in reversed(missing) for side in (0, num)]
    return nn.functional.pad(tensor.contiguous(), sides) if any(missing) else tensor.contiguous()


def open_onnx(path: Path) -> OnnxModel:
    """Raises BadInput without the library, or when the file is no such program."""
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        raise BadInput(f"a package of format onnx needs ONNX Runtime: {NEEDED}") from None
    try:
        return OnnxModel(runtime.InferenceSession(path, providers=["CPUExecutionProvider"]))
    except Exception as error:  # why: the library's own classes have no common base
        raise BadInput(f"{path.name} cannot be run: {str(error).splitlines()[0]}") from None
