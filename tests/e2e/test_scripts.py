"""Scripts that were written elsewhere, from POST to artifacts, on the embedded defaults."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Stack
from tests.e2e import programs

SECONDS = 200
pytestmark = pytest.mark.timeout(420)  # each rank imports torch, in two lives where it is killed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("on-the-node")


@pytest.fixture(scope="module")
def stack(servers: Servers, databases: Databases, folder: Path) -> Iterator[Stack]:
    wheels = folder / "wheels"
    wheels.mkdir()
    make_wheel(wheels)
    node_env = {"TRAINYARD_DATA_ROOTS": json.dumps([str(folder)]), "TRAINYARD_WHEELS_DIR": str(wheels)}
    api_env = {"TRAINYARD_MASTER_KEY": "an operator's key of more than thirty-two letters"}
    with Stack(servers, databases, node_env=node_env, api_env=api_env) as stack:
        yield stack


def make_wheel(folder: Path) -> None:
    """A package as ``pip wheel`` would leave it."""
    info = "made_up_package-1.0.dist-info"
    files = {
        "made_up_package.py": "ANSWER = 42\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: made-up-package\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / "made_up_package-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


def script(text: str, **more: Any) -> dict[str, Any]:
    return {
        "recipe": "script",
        "code": {"files": {"train.py": text}},
        "entrypoint": "train.py",
        "resources": {"devices_per_node": 2, "accelerator": "cpu"},
        **more,
    }


def succeeded(stack: Stack, spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    job = stack.submit(spec)
    state = stack.wait_terminal(job, seconds=SECONDS)
    assert state["state"] == "succeeded", stack.explain(job)
    return job, state


def failed(stack: Stack, spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    job = stack.submit(spec)
    state = stack.wait_terminal(job, seconds=SECONDS)
    assert state["state"] == "failed", stack.explain(job)
    return job, state


def report(stack: Stack, job: str, path: str = "workdir/report.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(stack.download(job, path))
    return content


def test_a_ddp_script_written_for_another_service_trains_on_two_ranks(stack: Stack, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "rows.csv").write_text("1.5\n2.5\n")
    spec = script(
        "",
        code={"files": {"src/train.py": programs.DDP_TRAIN, "src/network.py": programs.NETWORK}},
        entrypoint="src/train.py",
        dataset={"path": str(folder / "data")},
        hyperparameters={"lr": 0.01, "hidden-size": 8, "e": 2},
        env={"MY_SWITCH": "on"},
        metric_patterns=[
            {"name": "step", "pattern": "step: ([0-9]+)"},
            {"name": "loss", "pattern": r"training loss: ([0-9.]+);"},
        ],
    )
    job, state = succeeded(stack, spec)
    told = report(stack, job, "output/report.json")
    assert (told["size"], told["total"], told["lr"], told["hidden"], told["e"]) == (2, 3.0, 0.01, 8, 2)
    assert {item["path"] for item in stack.artifacts(job)} == {"model/model.pth", "output/report.json", "workdir/notes.txt"}
    series = {item["name"]: item for item in stack.get(f"/v1/jobs/{job}/metrics")["series"]}
    assert series["loss"]["steps"] == [0, 1, 2, 3, 4, 5]
    assert state["metrics"]["loss"] == series["loss"]["values"][-1]
    assert stack.get(f"/v1/jobs/{job}/attempts")["data"][0]["launched"] == "cold"
    environment = told["env"]
    assert environment["MY_SWITCH"] == "on"
    text = json.dumps(environment)
    assert stack.worker_key not in text
    assert stack.admin_key not in text
    assert "lease_" not in text
    assert not {name for name in environment if name.startswith("TRAINYARD_") and not name.startswith(("TRAINYARD_RUN_", "TRAINYARD_A"))}


@pytest.mark.parametrize("part", ["rank", "supervisor"])
def test_a_script_that_is_killed_goes_on_from_the_checkpoint_that_it_saved(stack: Stack, part: Any) -> None:
    job = stack.submit(script(programs.RESUMING))
    stack.wait_for_step(job, 5, seconds=SECONDS)
    stack.wait_for_checkpoint(job)
    stack.kill(part, job=job)
    state = stack.wait_terminal(job, seconds=SECONDS)
    assert (state["state"], state["num_attempts"]) == ("succeeded", 2), stack.explain(job)
    assert report(stack, job, "output/report-0.json") == {"start": 4, "rank": "0"}


def test_a_script_that_knows_only_a_folder_finds_its_files_again(stack: Stack) -> None:
    job = stack.submit(script(programs.FOLDER_RESUMING, launcher="python"))
    stack.wait_for_checkpoint(job, seconds=SECONDS)
    stack.kill("agent", job=job)
    state = stack.wait_terminal(job, seconds=SECONDS)
    assert (state["state"], state["num_attempts"]) == ("succeeded", 2), stack.explain(job)
    assert stack.download(job, "model/found.txt") == b"epoch-1.bin"


def test_a_rank_that_fails_is_named_with_its_code_and_last_lines(stack: Stack) -> None:
    _, state = failed(stack, script(programs.FAILING))
    failure = state["failure"]
    assert (failure["reason"], failure["rank"], failure["exit_code"]) == ("user_error", 1, 3)
    assert "about to leave" in failure["log_tail"]


def test_a_traceback_and_the_scripts_own_words_are_kept(stack: Stack) -> None:
    _, state = failed(stack, script(programs.RAISING))
    failure = state["failure"]
    assert failure["message"].startswith("bad rows in shard 7 (rank 0 exited with code 1: ValueError: the rows do not add up")
    assert "in helper" in failure["log_tail"]


def test_accelerate_ranks_form_one_group(stack: Stack) -> None:
    job, _ = succeeded(stack, script(programs.ACCELERATED, launcher="accelerate"))
    assert report(stack, job) == {"num": 2, "seen": [0, 1]}


def test_a_python_script_is_one_process_and_hears_nothing_of_torchrun(stack: Stack) -> None:
    spec = script(programs.ALONE, launcher="python", hyperparameters={"b": True, "a": {"y": 1, "x": None}}, args=["--last", "1"])
    job, _ = succeeded(stack, spec)
    told = report(stack, job)
    assert told["args"] == ["-a", "x=None,y=1", "-b", "True", "--last", "1"]
    assert not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"} & set(told["names"])


def test_a_script_that_leaves_nothing_succeeds_with_a_warning(stack: Stack) -> None:
    job, _ = succeeded(stack, script("print('hello')", launcher="python"))
    warning = next(event for event in stack.events(job) if event["type"] == "script.no_output")
    assert "no file" in warning["message"]


def test_requirements_come_from_the_operators_wheels(stack: Stack) -> None:
    files = {"train.py": programs.NEEDS_PACKAGE, "requirements.txt": "# mine\nmade-up-package==1.0\n"}
    job, _ = succeeded(stack, script("", code={"files": files}, launcher="python", requirements="requirements.txt"))
    assert report(stack, job)["answer"] == 42
    _, state = failed(stack, script("", code={"files": {"train.py": ""}}, requirements=["made-up-package==2.0"]))
    assert "made-up-package==2.0" in state["failure"]["message"]


def test_a_secret_comes_by_file_and_is_masked_wherever_it_is_printed(stack: Stack) -> None:
    value = "correct-horse-battery"
    answer = stack.http.put("/v1/secrets/API_TOKEN", json={"value": value})
    assert answer.status_code == 200, answer.text
    job, state = failed(stack, script(programs.USES_SECRET, secrets=["API_TOKEN"], launcher="python"))
    log = stack.get(f"/v1/jobs/{job}/logs")["text"]
    assert "the token is *********************" in log
    assert state["failure"]["message"].endswith("could not log in with ***")
    assert value not in json.dumps([state, stack.events(job), stack.attempts(job), log])
    left = [path for path in stack.node_dir.rglob("*") if path.is_file() and path.suffix != ".log" and value.encode() in path.read_bytes()]
    assert left == [], "only what the script itself printed may hold it"


def test_the_command_line_packs_a_folder_and_runs_it(stack: Stack, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(programs.ALONE)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "more.py").write_text("1")
    environ = {**os.environ, "TRAINYARD_URL": stack.url, "TRAINYARD_API_KEY": stack.admin_key}
    command = [sys.executable, "-m", "trainyard", "run", str(tmp_path / "train.py"), "--cpus", "1", "--launcher", "python"]
    told = [*command, "--watch", "--json", "-e", "MY_SWITCH=on", "--", "--lr", "0.1"]
    done = subprocess.run(told, env=environ, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["spec"]["code"].keys() == {"sha256", "size"}
    found = report(stack, job["id"])
    assert found["args"] == ["--lr", "0.1"]
    assert "MY_SWITCH" in found["names"]
    strange = {**job["spec"], "code": {"sha256": "0" * 64, "size": 5}}
    refused = stack.http.post("/v1/jobs", json=strange)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "not_uploaded")
