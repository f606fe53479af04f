"""POST a job, poll it, download the trained model: on the embedded defaults and on PostgreSQL with Redis."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bed.stack import Stack

DIGITS: dict[str, Any] = {
    "name": "digits",
    "recipe": "image-classification",
    "dataset": {"builtin": "digits"},
    "training": {"epochs": 12},
    "resources": {"devices_per_node": 2, "accelerator": "cpu"},
    "seed": 1,
}
# Nothing of ours may be importable where the model is used: -I leaves out the working folder and PYTHONPATH.
PREDICT = """
import sys, torch
sys.modules.update(dict.fromkeys(("trainer", "core", "trainyard")))
model = torch.export.load(sys.argv[1]).module()
print(tuple(model(torch.zeros(3, 8, 8, dtype=torch.uint8)).shape))
"""


@pytest.fixture(scope="module")
def finished(stack: Stack) -> str:
    job = stack.submit(DIGITS)
    state = stack.wait_terminal(job, seconds=120)
    assert state["state"] == "succeeded", stack.explain(job)
    return job


def test_a_job_trains_a_model_that_is_right(stack: Stack, finished: str) -> None:
    state = stack.job(finished)
    assert state["num_attempts"] == 1
    assert state["metrics"]["test_accuracy"] >= 0.95
    assert next(span["phase"] for span in state["phases"]) == "preparing"
    assert all(span["ended_at"] for span in state["phases"])


def test_promise_10_every_artifact_arrives_with_the_digest_that_was_promised(stack: Stack, finished: str) -> None:
    listed = {item["path"]: item for item in stack.artifacts(finished)}
    assert {"model.pt2", "model.safetensors", "config.json", "metrics.json", "README.md"} <= listed.keys()
    for path, item in listed.items():
        content = stack.download(finished, path)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (item["sha256"], item["size"]), path


def test_the_model_loads_in_a_plain_python(stack: Stack, finished: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(stack.download(finished, "model.pt2"))
    answer = subprocess.run([sys.executable, "-I", "-c", PREDICT, str(path)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "(3, 10)"


def test_metrics_and_logs_tell_the_whole_run(stack: Stack, finished: str) -> None:
    series = {item["name"]: item for item in stack.get(f"/v1/jobs/{finished}/metrics")["series"]}
    assert series["loss"]["steps"] == sorted(series["loss"]["steps"])
    assert series["validation_accuracy"]["num_points"] == DIGITS["training"]["epochs"]
    log = stack.get(f"/v1/jobs/{finished}/logs")
    assert "validation accuracy" in log["text"]
    assert (0, "stdout") in {(item["rank"], item["stream"]) for item in log["streams"]}


def test_promise_16_the_journal_has_no_gap(stack: Stack, finished: str) -> None:
    events = stack.events(finished)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    words = [event["type"] for event in events]
    assert (words[0], words[-1]) == ("job.submitted", "job.succeeded")
    assert json.dumps(events).count("lease_") == 0
