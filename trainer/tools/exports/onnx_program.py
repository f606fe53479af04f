"""ONNX (https://onnx.ai): written by torch's exporter, compared with the model by ONNX Runtime."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from core.recipes.model_export import OPSET
from trainer.errors import ExportDiffers, InvalidData
from trainer.predict.onnx_model import FILE, NEEDED, open_onnx
from trainer.predict.predictor import BadInput
from trainer.tools.exports.trial import Batch, Trial

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


def export_onnx(trial: Trial) -> None:
    """``model.onnx``, weights inside. InvalidData where a library is missing, or the exporter cannot say the model in ONNX."""
    libraries = {name: _library(name) for name in LIBRARIES}
    opset = trial.knobs.opset or OPSET
    path, example = trial.folder / FILE, trial.example()
    shapes = {name: {number: Dim.DYNAMIC(min=1) for number in trial.axes[name]} for name in example}
    knobs: dict[str, Any] = {"opset_version": opset, "input_names": list(example), "external_data": False, "verbose": False}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, about its own inside
            program: Any = torch.onnx.export(trial.model, (), kwargs=example, dynamo=True, dynamic_shapes=shapes, **knobs)
    except torch.onnx.OnnxExporterError as error:
        raise InvalidData([f"the model cannot be said in ONNX: {_reason(error)}"]) from error
    program.save(path)
    _check(libraries["onnx"], path, opset)
    try:
        model = open_onnx(path)
    except BadInput as error:
        raise ExportDiffers(f"ONNX Runtime does not take the export: {error}") from None
    trial.facts |= {
        "opset": opset,
        "inputs": {one.name: {"shape": one.shape, "type": one.type} for one in model.session.get_inputs()},
        "outputs": {one.name: {"shape": one.shape, "type": one.type} for one in model.session.get_outputs()},
        "onnxruntime": libraries["onnxruntime"].__version__,
    }

    def ask(batch: Batch) -> Any:
        try:
            return model(**batch)
        except Exception as error:  # why: ONNX Runtime's classes have no common base
            sizes = ", ".join(str(tuple(tensor.shape)) for tensor in batch.values())
            raise ExportDiffers(f"{FILE} does not take inputs of {sizes}: {_reason(error)}") from error

    trial.compare(ask)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InvalidData([f"format onnx needs {', '.join(LIBRARIES)} on the worker, and {name} is not there: {NEEDED}"]) from None


def _check(onnx: Any, path: Path, opset: int) -> None:
    """That it is what it should be by ONNX's own rules, of the version that was asked for."""
    onnx.checker.check_model(path)
    versions = {one.domain: one.version for one in onnx.load(path, load_external_data=False).opset_import}
    if versions.get("") != opset:
        raise InvalidData([f"the model can be said in opset {versions.get('')} and not in {opset}; say so in model.opset"])


def _reason(error: BaseException) -> str:
    """The first cause, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
