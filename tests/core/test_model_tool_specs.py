"""Recipes that do not train: what they need, and what they refuse."""

import json
from typing import Any

import pytest

from core.errors import InvalidInput
from core.recipes import parse_spec

MODEL = {"path": "/model"}
DATA = {"path": "/data"}


def problems(**spec: Any) -> dict[str, str]:
    try:
        parse_spec(json.dumps(spec))
    except InvalidInput as error:
        return {problem.pointer: problem.message for problem in error.problems}
    return {}


@pytest.mark.parametrize("recipe", ["batch-prediction", "model-evaluation"])
def test_a_model_and_a_dataset_are_needed(recipe: str) -> None:
    assert problems(recipe=recipe, base_model=MODEL, dataset=DATA) == {}
    assert problems(recipe=recipe, base_model="digits@production", dataset="scans@3") == {}
    assert problems(recipe=recipe).keys() == {"/base_model", "/dataset"}


def test_an_export_needs_a_model_alone() -> None:
    assert problems(recipe="model-export", base_model=MODEL) == {}
    assert problems(recipe="model-export", base_model=MODEL, dataset=DATA, model={"format": "onnx", "opset": 20}) == {}
    assert problems(recipe="model-export").keys() == {"/base_model"}


@pytest.mark.parametrize(
    ("model", "pointer"),
    [
        ({"format": "pickle"}, "/model/format"),
        ({"opset": 9}, "/model/opset"),
        ({"tolerance": 0}, "/model/tolerance"),
        ({"num_rows": 1}, "/model/num_rows"),
        ({"format": "torch", "opset": 18}, ""),
    ],
)
def test_knobs_of_an_export_are_checked(model: dict[str, Any], pointer: str) -> None:
    assert problems(recipe="model-export", base_model=MODEL, model=model).keys() == {pointer}


@pytest.mark.parametrize("form", ["onnx", "torch", "transformers"])
def test_a_spec_is_read_again_with_every_default_filled_in(form: str) -> None:
    spec = parse_spec(json.dumps({"recipe": "model-export", "base_model": MODEL, "model": {"format": form}}))
    assert parse_spec(spec.model_dump_json()) == spec


def test_tools_run_on_one_device() -> None:
    found = problems(recipe="model-export", base_model=MODEL, resources={"devices_per_node": 2})
    assert "runs on one device" in found[""]
