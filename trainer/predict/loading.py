"""A package from its folder: verified, read, and made a model again."""

import errno
import importlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.manifest import MANIFEST, ManifestError, verify
from trainer.errors import StorageFailed
from trainer.models import FAMILIES, build
from trainer.predict.onnx_model import FILE as ONNX
from trainer.predict.onnx_model import open_onnx
from trainer.predict.predictor import BadInput
from trainer.predict.size_check import check_size
from trainer.tensor_files import read_tensors

FORMAT = 2
NO_MEMORY = ("can't allocate memory", os.strerror(errno.ENOMEM))


def load_model(folder: Path, config: dict[str, Any], device: str) -> nn.Module:
    """The model of a package whose ``config`` was read, with its weights, in eval mode on ``device``; of format onnx on the CPU."""
    if (folder / ONNX).is_file() and not (folder / "model.safetensors").is_file():
        return open_onnx(folder / ONNX).eval()
    model = _own_model(folder, config["architecture"]) if "architecture" in config else _transformers_model(folder, config)
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"no device {device}: {str(error).splitlines()[0]}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """Our part of config.json, after every file was compared with the manifest, where there is one.

    Raises BadInput for what is no package, is damaged, or was made by a trainer that this one does not understand.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder")
    try:
        if (folder / MANIFEST).exists():  # files that were downloaded one by one were compared then
            verify(folder.resolve())
        content = read_json(folder)
    except ManifestError as error:
        raise BadInput(f"{folder} is no whole package: {error}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}/config.json cannot be read: {error}") from None
    config: dict[str, Any] = content.get("trainyard", content)
    if config.get("format") != FORMAT or "recipe" not in config:
        raise BadInput(f"{folder} has format {config.get('format')}; this trainer reads format {FORMAT}")
    return config


def read_json(folder: Path) -> dict[str, Any]:
    """The whole config.json. Raises OSError or ValueError."""
    content: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    return content


def lacks_memory(error: Exception) -> bool:
    """Torch says so by a plain RuntimeError."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def _own_model(folder: Path, architecture: dict[str, Any]) -> nn.Module:
    family = architecture.get("family")
    if family not in FAMILIES:
        raise BadInput(f"{folder} holds a model of an unknown family {family!r}")
    check_size(folder, architecture, lambda: build(architecture))
    model = build(architecture)
    try:
        model.load_state_dict(read_tensors(folder / "model.safetensors"))
    except (StorageFailed, RuntimeError) as error:
        if lacks_memory(error):
            raise MemoryError(str(error)) from error
        raise BadInput(f"the weights do not fit the model of config.json: {str(error).splitlines()[0]}") from None
    return model


def _transformers_model(folder: Path, config: dict[str, Any]) -> nn.Module:
    hf = importlib.import_module("trainer.models.hf")  # transformers takes seconds to import
    check_size(folder, read_json(folder), lambda: hf.config_model(folder, config))
    model: nn.Module = hf.from_package(folder, config)
    return model


def check_device(device: str) -> str:
    """The device itself when torch knows such a one; BadInput otherwise."""
    try:
        return str(torch.device(device))
    except RuntimeError:
        raise BadInput(f"no device {device}; cpu, cuda and cuda:N are known") from None
