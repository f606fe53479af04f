"""The first thing that a newcomer runs, as he runs it; and what it says when something is in the way."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.wire.worker import DeviceInfo, Worker
from tests.bed.census import touching
from trainyard.quickstart import fitting_spec
from trainyard.up.folder import StateFolder, locked


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ty-quick-") as name:
        yield Path(name)


def quickstart(folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "trainyard.quickstart"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(400)
def test_the_quickstart_trains_checks_and_stops_and_can_be_run_again(folder: Path) -> None:
    keys = folder / ".trainyard" / "quickstart" / "keys" / "admin"
    first = quickstart(folder)
    assert first.returncode == 0, first.stdout + first.stderr
    key = keys.read_text()
    for word in ("queued", "training  step", "epoch", "loss", "accuracy", "left", "succeeded"):
        assert word in first.stdout
    accuracy = re.search(r"(\d+) of (\d+) held-out images are right: test accuracy ([\d.]+)%", first.stdout)
    assert accuracy
    assert float(accuracy[3]) >= 98
    assert int(accuracy[2]) > 200
    assert touching(str(folder)) == []

    again = quickstart(folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert keys.read_text() == key
    assert touching(str(folder)) == []


def test_a_quickstart_that_cannot_start_says_why(folder: Path) -> None:
    home = StateFolder(folder / ".trainyard" / "quickstart")
    home.prepare()
    with locked(home):
        said = quickstart(folder)
    assert said.returncode == 1
    assert "'trainyard up' is running already" in said.stdout
    assert "Traceback" not in said.stdout + said.stderr


@pytest.mark.parametrize(("gpus", "expected"), [((), ("cpu", 2)), ((1,), ("cuda", 1)), ((2, 8), ("cuda", 8))])
def test_it_takes_all_gpus_if_there_are_any_and_else_two_cpu_slots(gpus: tuple[int, ...], expected: tuple[str, int]) -> None:
    workers = [_worker("cpu", 4), *(_worker("cuda", count) for count in gpus)]
    resources = fitting_spec(workers)["resources"]
    assert (resources["accelerator"], resources["devices_per_node"]) == expected


def _worker(accelerator: str, num_devices: int) -> Worker:
    return Worker.model_validate(
        {
            "id": "wrk_1",
            "name": "node",
            "state": "online",
            "accelerator": accelerator,
            "isolation": {"level": "limits"},
            "devices": [DeviceInfo(index=index, name="a device") for index in range(num_devices)],
            "num_busy": 0,
            "launch": "warm",
            "version": "0",
            "torch_version": None,
            "last_seen_at": "2026-01-01T00:00:00Z",
            "created_at": "2026-01-01T00:00:00Z",
        }
    )
