"""A launch plan is a value: printable, comparable, and made without torch."""

import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from core.recipes import parse_spec
from core.run_dir import RunDir
from worker import launch_plan
from worker.launch_plan import PORTS, LaunchPlan, free_port, plan_launch


def plan(run_dir: RunDir, *, devices: tuple[int, ...] = (1, 3), kind: launch_plan.DeviceKind = "cuda", **environ: str) -> LaunchPlan:
    spec = parse_spec('{"recipe": "scripted", "training": {"threads_per_rank": 2}}')
    grace = timedelta(seconds=1.5)
    return plan_launch(run_dir, attempt_id="att_1", spec=spec, devices=devices, device_kind=kind, shutdown_timeout=grace, environ=environ)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "with space")


def test_a_plan_survives_its_json(run_dir: RunDir) -> None:
    made = plan(run_dir)
    assert LaunchPlan.from_json(made.to_json()) == made


def test_one_rank_for_each_device_and_the_trainer_is_told_its_folder_alone(run_dir: RunDir) -> None:
    made = plan(run_dir)
    assert made.world_size == 2
    assert "--nproc-per-node=2" in made.argv
    assert "--max-restarts=0" in made.argv
    assert "--shutdown-timeout=2" in made.argv
    script, argument = made.argv[-2:]
    assert Path(script).parts[-2:] == ("trainer", "main.py")
    assert Path(script).is_file()
    assert argument == str(run_dir.root)


def test_ranks_see_their_devices_and_no_other(run_dir: RunDir) -> None:
    assert plan(run_dir).env["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert plan(run_dir, kind="cpu").env["CUDA_VISIBLE_DEVICES"] == ""


def test_of_the_operators_environment_only_harmless_names_pass(run_dir: RunDir) -> None:
    env = plan(run_dir, PATH="/opt/bin", NCCL_SOCKET_IFNAME="eth0", AWS_SECRET_ACCESS_KEY="x", OMP_NUM_THREADS="9", PYTHONPATH="/evil").env
    assert (env["PATH"], env["NCCL_SOCKET_IFNAME"], env["OMP_NUM_THREADS"]) == ("/opt/bin", "eth0", "2")
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & env.keys()


def test_planning_and_keeping_import_neither_torch_nor_pydantic() -> None:
    code = "import sys, worker.keeper; sys.exit(bool({'torch', 'pydantic', 'subprocess'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = free_port()
    assert taken in PORTS
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        monkeypatch.setattr(launch_plan.random, "sample", lambda ports, count: [taken, PORTS.start + 1, PORTS.start + 2, PORTS.start + 3])
        assert free_port() != taken
