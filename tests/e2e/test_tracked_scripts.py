"""Three scripts as people bring them, unchanged, whose whole node dies under them: they go on, and what they told is one story."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Stack
from tests.e2e import programs

SECONDS = 200
pytestmark = pytest.mark.timeout(420)  # each rank imports torch or transformers, in two lives


@pytest.fixture(scope="module")
def stack(servers: Servers, databases: Databases) -> Iterator[Stack]:
    with Stack(servers, databases) as stack:
        yield stack


def script(text: str, **more: Any) -> dict[str, Any]:
    resources = {"devices_per_node": 2, "accelerator": "cpu"}
    return {"recipe": "script", "code": {"files": {"train.py": text}}, "entrypoint": "train.py", "resources": resources, **more}


def killed_and_over(stack: Stack, spec: dict[str, Any], *, at_step: int = 0) -> tuple[str, dict[str, Any]]:
    """The job after its node lost power, once that step was told and a checkpoint was stored, and came up again."""
    job = stack.submit(spec)
    stack.wait_for_step(job, at_step, seconds=SECONDS)
    stack.wait_for_checkpoint(job, seconds=SECONDS)
    stack.lose_node()
    stack.start_node()
    state = stack.wait_terminal(job, seconds=SECONDS)
    assert (state["state"], state["num_attempts"]) == ("succeeded", 2), stack.explain(job)
    return job, state


def series(stack: Stack, job: str, attempt: int) -> dict[str, Any]:
    return {item["name"]: item for item in stack.get(f"/v1/jobs/{job}/metrics?attempt={attempt}")["series"]}


def test_a_ddp_script_of_another_service_ends_as_if_nothing_had_happened(stack: Stack) -> None:
    patterns = [{"name": "step", "pattern": "step: ([0-9]+)"}, {"name": "loss", "pattern": "loss: ([0-9.]+)"}]
    more: dict[str, Any] = {"hyperparameters": {"checkpoint-dir": "/opt/ml/checkpoints"}, "metric_patterns": patterns}
    killed, state = killed_and_over(stack, script(programs.DDP_WITH_CHECKPOINTS, **more), at_step=3)
    undisturbed = stack.submit(script(programs.DDP_WITH_CHECKPOINTS, **more, env={"NEVER_WAITS": "1"}))
    assert stack.wait_terminal(undisturbed, seconds=SECONDS)["state"] == "succeeded", stack.explain(undisturbed)
    first = int(stack.download(killed, "model/first.txt"))
    assert 1 <= first <= 4, "it went on where the stored checkpoint was"
    assert series(stack, killed, 2)["loss"]["steps"] == list(range(first, 6))
    whole = series(stack, undisturbed, 1)["loss"]["values"]
    assert series(stack, killed, 2)["loss"]["values"] == whole[first:]
    weights = [torch.load(io.BytesIO(stack.download(job, "model/model.pth")), weights_only=True) for job in (killed, undisturbed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert state["metrics"]["loss"] == whole[-1]


def test_what_the_mlflow_client_logs_becomes_the_jobs_metrics_and_artifacts(stack: Stack) -> None:
    job, state = killed_and_over(stack, script(programs.MLFLOW, launcher="python"), at_step=2)
    assert series(stack, job, 1)["loss"]["steps"] == [0, 1, 2]
    assert series(stack, job, 2)["loss"]["steps"] == [3, 4, 5]
    assert state["metrics"]["loss"] == pytest.approx(1 / 6)
    assert stack.download(job, "mlflow/notes/summary.txt") == b"went on at 3"
    params = json.loads(stack.download(job, "tracking/params.json"))
    assert params["values"] == {"lr": "0.1", "depth": "3"}
    assert json.loads(stack.download(job, "tracking/tags.json"))["values"]["team"] == "vision"


def test_transformers_trainer_tells_progress_by_itself_and_resumes(stack: Stack) -> None:
    job, state = killed_and_over(stack, script(programs.TRAINER))
    assert stack.download(job, "output/last.txt") in (b"checkpoint-2", b"checkpoint-4"), "whichever the node had stored"
    assert "model/model.safetensors" in {item["path"] for item in stack.artifacts(job)}
    assert state["metrics"]["loss"] > 0
    assert max(series(stack, job, 2)["loss"]["steps"]) <= 8
