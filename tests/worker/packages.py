"""A package that cost no training: a small model of a table with one number, with weights as they come."""

import json
from pathlib import Path

import numpy as np
import torch

from core.recipes.tabular import Data
from trainer.data.tabular_preprocessing import Preprocessing
from trainer.data.tabular_scaling import fit_numeric
from trainer.models import build
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config
from trainer.tensor_files import write_tensors

ARCHITECTURE = {"family": "tabular-mlp", "num_numbers": 1, "cardinalities": [], "num_outputs": 1, "width": 4, "depth": 1}


def write_package(folder: Path, *, seed: int = 0) -> Path:
    """Predicts a number from ``x``."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    write_tensors(folder / "model.safetensors", build(ARCHITECTURE).state_dict())
    preprocessing = Preprocessing(numeric=(fit_numeric("x", np.arange(10, dtype=np.float64), Data()),), categorical=())
    config = {
        "format": 2,
        "recipe": "tabular",
        "architecture": ARCHITECTURE,
        "kind": "regression",
        "labels": [],
        "preprocessing": preprocessing.as_json(),
        "output": {"centre": 0.0, "scale": 1.0},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def offline(folder: Path, xs: list[float], scratch: Path) -> list[float]:
    """What ``python -m trainer.predict`` says of these values of ``x``."""
    scratch.mkdir(exist_ok=True)
    table = scratch / "rows.jsonl"
    table.write_text("".join(json.dumps({"x": x}) + "\n" for x in xs))
    config = read_config(folder)
    predictor = predictor_class("tabular")(folder, config, load_model(folder, config, "cpu"))
    with torch.inference_mode():
        return [row["prediction"] for row in predictor.predict([table])]
