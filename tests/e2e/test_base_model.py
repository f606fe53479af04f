"""A job that starts from the model of an earlier one, through the API."""

from typing import Any

import numpy as np
from safetensors.numpy import load

from tests.bed.stack import Stack


def weights_of(stack: Stack, **spec: Any) -> tuple[str, dict[str, Any]]:
    """Trains a scripted job to its end; its id and its packaged weights."""
    job = stack.submit({"recipe": "scripted", "resources": {"accelerator": "cpu"}, **spec})
    assert stack.wait_terminal(job)["state"] == "succeeded", stack.explain(job)
    return job, load(stack.download(job, "model.safetensors"))


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_training_goes_on_from_the_base_models_weights(stack: Stack) -> None:
    one_step = {"training": {"steps": 1}, "seed": 2}
    base, base_weights = weights_of(stack, training={"steps": 20}, seed=1)
    _, fresh_weights = weights_of(stack, **one_step)
    _, tuned_weights = weights_of(stack, **one_step, base_model={"job": base})
    assert distance(tuned_weights, base_weights) < distance(fresh_weights, base_weights) / 4
