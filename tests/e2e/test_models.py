"""A model's whole life: trained, registered by its spec, promoted, and the start of the next one."""

from typing import Any

import pytest

from tests.bed.stack import Stack

DIGITS: dict[str, Any] = {
    "recipe": "image-classification",
    "dataset": {"builtin": "digits"},
    "training": {"epochs": 2},
    "resources": {"accelerator": "cpu"},
    "register_as": "digits",
}


def finished(stack: Stack, **changes: Any) -> dict[str, Any]:
    job = stack.submit({**DIGITS, **changes})
    state = stack.wait_terminal(job, seconds=120)
    assert state["state"] == "succeeded", stack.explain(job)
    return state


@pytest.fixture(scope="module")
def base(stack: Stack) -> dict[str, Any]:
    return finished(stack, seed=1)


def test_a_job_registers_its_package_and_another_one_starts_from_it(stack: Stack, base: dict[str, Any]) -> None:
    version = stack.get("/v1/models/digits/versions/latest")
    assert (version["version"], version["job_id"]) == (1, base["id"])
    assert version["metrics"]["test_accuracy"] == base["metrics"]["test_accuracy"]
    assert {"model.safetensors", "config.json"} <= {item["path"] for item in stack.get("/v1/models/digits/versions/1/files")["data"]}

    stack.http.put("/v1/models/digits/aliases/production", json={"version": 1}).raise_for_status()
    tuned = finished(stack, base_model="digits@production", seed=2, training={"epochs": 1, "warmup_epochs": 0, "learning_rate": 0.001})
    assert tuned["spec"]["base_model"] == {"name": "digits", "version": 1}
    second = stack.get("/v1/models/digits/versions/latest")
    assert (second["version"], second["parent"]["name"], second["parent"]["version"]) == (2, "digits", 1)
    assert second["metrics"]["test_accuracy"] >= version["metrics"]["test_accuracy"] - 0.05, "it went on from where the first had ended"
    compared = stack.get("/v1/models/digits/compare?a=production&b=2")
    assert compared["same_data"] is True
    assert not compared["same_files"]
    assert {"/base_model", "/seed"} <= {item["pointer"] for item in compared["spec_differences"]}
