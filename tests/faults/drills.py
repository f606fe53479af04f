"""What the fault tests share: the reference job, its fault-free weights, and the four questions asked at the end."""

from typing import Any

from tests.bed.stack import Stack

REFERENCE_SPEC: dict[str, Any] = {
    "recipe": "image-classification",
    "dataset": {"builtin": "digits"},
    "model": {"depth": 8, "width": 4},
    "training": {"epochs": 4, "batch_size": 32},
    "resources": {"devices_per_node": 2, "accelerator": "cpu"},
    "checkpoints": {"every_steps": 7},
    "deterministic": True,
    "seed": 11,
}


def reference_weights(stack: Stack) -> str:
    """SHA-256 of the weights of a run that nothing happened to."""
    job = stack.submit(REFERENCE_SPEC)
    state = stack.wait_terminal(job)
    assert state["state"] == "succeeded", stack.explain(job)
    return weights_of(stack, job)


def weights_of(stack: Stack, job: str) -> str:
    return str(next(item["sha256"] for item in stack.artifacts(job) if item["path"] == "model.safetensors"))


def expect_same_ending(stack: Stack, job: str, weights: str, *, attempts: int) -> None:
    """Succeeded, after so many attempts, with the fault-free weights, and nothing left running."""
    expect_success(stack, job, weights)
    assert stack.job(job)["num_attempts"] == attempts, stack.explain(job)


def expect_undisturbed(stack: Stack, job: str, weights: str) -> None:
    """The same where the fault may outlast the short lease of these tests: then the attempt was given back, and none was spent."""
    expect_success(stack, job, weights)
    reasons = [attempt["reason"] for attempt in stack.attempts(job)]
    assert reasons[0] == "completed", stack.explain(job)
    assert set(reasons[1:]) <= {"drained"}, stack.explain(job)


def expect_success(stack: Stack, job: str, weights: str) -> None:
    state = stack.wait_terminal(job, seconds=90)
    assert state["state"] == "succeeded", stack.explain(job)
    assert weights_of(stack, job) == weights
    stack.expect_no_survivors(job, seconds=10)
