"""Scripts that are paused, or whose node is drained: they leave what they have, and go on where they were, on both kinds of ledger."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.bed.stack import Stack
from tests.e2e import programs

SECONDS = 120
pytestmark = pytest.mark.timeout(300)  # torchrun starts twice
TOLD_BETWEEN = {
    "paused": ["job.pausing", "attempt.cancelled", "job.paused", "job.resumed"],
    "drained": ["attempt.draining", "attempt.cancelled", "job.requeued"],
}
Stop = Callable[[Stack, str], None]


def script(text: str, **more: Any) -> dict[str, Any]:
    resources = {"devices_per_node": 2, "accelerator": "cpu"}
    return {"recipe": "script", "code": {"files": {"train.py": text}}, "entrypoint": "train.py", "resources": resources, **more}


def trainyard(stack: Stack, *arguments: str) -> Any:
    """What the command says as JSON."""
    environ = {**os.environ, "TRAINYARD_URL": stack.url, "TRAINYARD_API_KEY": stack.admin_key}
    command = [sys.executable, "-m", "trainyard", *arguments, "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pause_and_resume(stack: Stack, job: str) -> None:
    assert trainyard(stack, "pause", job)["state"] == "pausing"
    stack.wait_state(job, "paused")
    stack.expect_no_survivors(job, seconds=10)
    assert trainyard(stack, "resume", job)["state"] in ("queued", "running")


def drain_and_start(stack: Stack, job: str) -> None:
    """SIGTERM to the worker, as a service manager or `docker stop` sends it."""
    assert stack.node.stop() == 0
    assert stack.job(job)["state"] == "queued"
    stack.expect_no_survivors(job, seconds=10)
    stack.start_node()


def ended(stack: Stack, job: str, *, reason: str, forced: bool) -> dict[str, Any]:
    """The second attempt of a job that succeeded with it, after the first was stopped so. Nothing counts as a failure."""
    state = stack.wait_terminal(job, seconds=SECONDS)
    assert state["num_attempts"] == 2, stack.explain(job)
    second, first = stack.attempts(job)
    assert (state["state"], state["failure"]) == ("succeeded", None), stack.explain(job)
    assert (first["state"], first["reason"], first["forced"]) == ("cancelled", reason, forced), stack.explain(job)
    assert (second["state"], second["reason"], second["forced"]) == ("succeeded", "completed", False)
    stack.expect_no_survivors(job, seconds=10)
    return second


def told(stack: Stack, job: str) -> list[str]:
    """Types of the events about the job as a whole and its attempts' ends, in their order."""
    return [event["type"] for event in stack.events(job) if event["type"].startswith(("job.", "attempt."))]


def steps(stack: Stack, job: str, attempt: int) -> list[int]:
    return list(stack.get(f"/v1/jobs/{job}/metrics?attempt={attempt}&name=loss")["series"][0]["steps"])


WAYS = pytest.mark.parametrize(("stop", "reason"), [(pause_and_resume, "paused"), (drain_and_start, "drained")], ids=["paused", "drained"])


@WAYS
def test_a_script_that_saves_when_it_is_asked_goes_on_behind_that_step(stack: Stack, stop: Stop, reason: str) -> None:
    job = stack.submit(script(programs.STOPPING))
    stack.wait_for_step(job, 4, seconds=SECONDS)
    stop(stack, job)
    second = ended(stack, job, reason=reason, forced=False)
    assert second["resumed_from_step"] == 4
    assert (steps(stack, job, 1), steps(stack, job, 2)) == ([1, 2, 3, 4], [5, 6]), "no point is lost, and none comes twice"
    assert [json.loads(stack.download(job, f"output/report-{rank}.json")) for rank in (0, 1)] == [{"start": 4}] * 2
    assert stack.job(job)["metrics"]["goodput"] == 1.0
    begins = ["attempt.claimed", "attempt.started"]
    assert told(stack, job) == ["job.submitted", *begins, *TOLD_BETWEEN[reason], *begins, "attempt.succeeded", "job.succeeded"]


@WAYS
def test_a_script_that_leaves_its_files_at_the_last_moment_finds_them_again(stack: Stack, stop: Stop, reason: str) -> None:
    patterns = [{"name": "ready", "pattern": "ready: ([0-9])"}, {"name": "step", "pattern": "ready: ([0-9])"}]
    job = stack.submit(script(programs.LEAVING, launcher="python", metric_patterns=patterns))
    stack.wait_for_step(job, 1, seconds=SECONDS)
    stop(stack, job)
    ended(stack, job, reason=reason, forced=False)
    assert stack.download(job, "model/found.txt") == b"last.bin"


@WAYS
def test_a_script_that_hears_nothing_goes_on_from_what_it_saved_before(stack: Stack, stop: Stop, reason: str) -> None:
    job = stack.submit(script(programs.RESUMING))
    stack.wait_for_step(job, 5, seconds=SECONDS)
    stop(stack, job)
    second = ended(stack, job, reason=reason, forced=True)
    assert second["resumed_from_step"] == 4
    assert (steps(stack, job, 1), steps(stack, job, 2)) == ([1, 2, 3, 4, 5], [5, 6])
