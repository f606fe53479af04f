"""A whole node as real processes: refusing a second one, draining, leaving, dying and coming back."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed.databases import Databases
from tests.bed.processes import Process
from tests.bed.servers import Servers
from tests.bed.stack import ROOT, Stack
from tests.bed.waiting import until

NEVER: dict[str, Any] = {
    "recipe": "scripted",
    "training": {"ending": "never", "step_seconds": 0.02},
    "resources": {"devices_per_node": 2, "accelerator": "cpu"},
}


@pytest.fixture(scope="module")
def stack(servers: Servers, databases: Databases) -> Iterator[Stack]:
    with Stack(servers, databases, lease_seconds=6.0, node_env={"TRAINYARD_POLL_SECONDS": "0.5"}) as stack:
        yield stack


@pytest.fixture
def running(stack: Stack) -> Iterator[str]:
    """A job that goes on until it is stopped, past its first steps."""
    if not stack.node.is_running:
        stack.start_node()
    job = stack.submit(NEVER)
    stack.wait_for_step(job, 5)
    yield job
    stack.post(f"/v1/jobs/{job}/cancel")
    if not stack.node.is_running:
        stack.start_node()
    stack.wait_terminal(job)


def test_a_second_node_in_the_same_folder_is_refused(stack: Stack) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "worker"], env=stack.node.environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert said.returncode == 1
    assert "TRAINYARD_WORK_DIR" in said.stderr


@pytest.mark.parametrize(("name", "value"), [("TRAINYARD_WORKER_TOKEN", ""), ("TRAINYARD_POLL_SECONDS", "soon")])
def test_wrong_settings_are_named(stack: Stack, name: str, value: str) -> None:
    environ = {**stack.node.environment, name: value}
    said = subprocess.run([sys.executable, "-m", "worker"], env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 2
    assert name in said.stderr


def test_promise_24_no_secret_is_in_argv_or_in_a_readable_environment(stack: Stack, running: str) -> None:
    for part in ("pad", "keeper", "agent", "rank"):
        for pid in stack.pids(part):
            assert not any(secret in read(pid, "environ") + read(pid, "cmdline") for secret in (stack.worker_key, "lease_")), part
    for part in ("celery", "supervisor", "node"):
        for pid in stack.pids(part):
            assert not any(secret in read(pid, "cmdline") for secret in (stack.worker_key, "lease_")), part
            # Not dumpable: the files of the process belong to root, whoever runs it.
            assert Path(f"/proc/{pid}/environ").stat().st_uid == 0


def read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")


def test_promise_13_sigterm_gives_the_job_back_unspent_and_leaves_nothing(stack: Stack, running: str) -> None:
    stack.node.send(signal.SIGTERM)
    assert stack.node.wait(60) == 0, stack.logs()
    (attempt,) = stack.attempts(running)
    assert (attempt["state"], attempt["reason"], attempt["forced"]) == ("cancelled", "drained", False)
    assert stack.job(running)["state"] == "queued"
    assert stack.survivors(running) == []
    assert stack.pids("pad") == stack.pids("celery") == []
    assert stack.get("/v1/workers")["data"][0]["state"] in ("drained", "offline")
    stack.start_node()
    assert stack.wait_for_attempt(running, 2, state="running")["resumed_from_step"] is not None


def test_promise_13_a_node_drains_also_while_the_api_is_away(stack: Stack, running: str) -> None:
    stack.kill("api")
    stack.node.send(signal.SIGTERM)
    until(lambda: stack.pids("rank") == [], within=30, what="the ranks have stopped", explain=stack.logs)
    stack.start_api()
    assert stack.node.wait(60) == 0, stack.logs()
    assert stack.attempts(running)[0]["reason"] == "drained"


def test_leaving_lets_the_run_go_on(stack: Stack, running: str) -> None:
    stack.node.stop()
    leaver = Process(
        [sys.executable, "-m", "worker", "--on-term", "leave"], log=stack.node.log, environment=stack.node.environment, cwd=ROOT
    )
    leaver.start()
    try:
        stack.wait_for_attempt(running, 2, state="running", seconds=60)
        supervisor = stack.pid("supervisor", job=running)
        leaver.send(signal.SIGTERM)
        assert leaver.wait(40) == 0
        expect_steps(stack, running, 30)
        assert stack.pid("supervisor", job=running) == supervisor
        assert len(stack.attempts(running)) == 2
    finally:
        leaver.kill9()


def expect_steps(stack: Stack, job: str, num_steps: int) -> None:
    """Training goes on for so many more steps."""
    progress = until(lambda: stack.job(job)["progress"], within=20, what="progress")
    stack.wait_for_step(job, progress["step"] + num_steps)


def test_promise_01_a_node_killed_outright_leaves_its_run_alone_and_finds_it_again(stack: Stack, running: str) -> None:
    stack.node.kill9()
    until(lambda: not stack.pids("celery") and not stack.pids("pad"), within=20, what="celery and pad go with their parent")
    stack.start_node()
    expect_steps(stack, running, 20)
    assert len(stack.attempts(running)) == 1


def test_a_second_sigterm_ends_the_waiting(stack: Stack) -> None:
    job = stack.submit({**NEVER, "training": {"ending": "never", "step_seconds": 0.02, "ignore_sigterm": True}})
    stack.wait_for_step(job, 3)
    stack.node.send(signal.SIGTERM)
    until(lambda: (stack.node_dir / "leaving").exists(), within=10, what="it drains")
    began = time.monotonic()
    stack.node.send(signal.SIGTERM)
    assert stack.node.wait(10) == 1
    assert time.monotonic() - began < 5
    stack.post(f"/v1/jobs/{job}/cancel")
    stack.wait_terminal(job)
    stack.start_node()
