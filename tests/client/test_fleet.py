"""How ``trainyard up`` looks after its children: here with children that do what the real ones rarely do."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.census import touching
from tests.bed.processes import Process
from tests.bed.waiting import until

# A parent as ``up`` is one, with one child that is a line of shell.
PARENT = """
import sys
from pathlib import Path
from trainyard.up.fleet import Fleet
from trainyard.up.process import Command, adopt_orphans
from trainyard.up.signals import Signals

folder, line = Path(sys.argv[1]), sys.argv[2]
adopt_orphans()
with Signals() as signals, open(folder / "lock", "w") as lock:
    fleet = Fleet(signals, lambda name, text: print(name, text, flush=True), lock.fileno())
    environment = {"PATH": "/usr/bin:/bin", "FOLDER": str(folder)}
    fleet.start(Command(name="child", argv=("bash", "-c", line), environment=environment, log=folder / "child.log"))
    fleet.tend()
    fleet.stop(patience={"child": 60.0})
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ty-fleet-") as name:
        yield Path(name)


@pytest.fixture
def parents(folder: Path) -> Iterator[list[Process]]:
    """Parents that a test has started; none of them, and none of their children, outlives it."""
    started: list[Process] = []
    yield started
    for parent in started:
        parent.kill9()
    for person in touching(str(folder)):
        os.kill(person.pid, signal.SIGKILL)


def start(line: str, folder: Path, parents: list[Process]) -> Process:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = Process([sys.executable, "-c", PARENT, str(folder), line], log=folder / "parent.log", environment=environment)
    parents.append(parent)
    parent.start()
    return parent


def test_a_child_that_keeps_dying_is_started_again_ever_more_slowly(folder: Path, parents: list[Process]) -> None:
    parent = start("exit 3", folder, parents)
    until(lambda: "again in 2 s" in parent.log_tail(), within=20, what="the third wait is told", explain=parent.log_tail)
    waits = [line.partition("starts again in ")[2].partition(" s")[0] for line in parent.log_tail().splitlines() if "exit code 3" in line]
    assert waits == ["0.5", "1", "2"]
    parent.send(signal.SIGTERM)
    assert parent.wait(10) == 0


def test_a_stubborn_child_has_its_time_and_a_second_signal_ends_it_and_what_it_left(folder: Path, parents: list[Process]) -> None:
    stubborn = (
        'trap "" TERM; (setsid bash -c "trap \\"\\" TERM; sleep 1000; true" &); echo up > "$FOLDER/told"; while true; do sleep 1; done'
    )
    parent = start(stubborn, folder, parents)
    until(lambda: (folder / "told").exists(), within=20, what="the child is up", explain=parent.log_tail)
    until(lambda: len(touching(f"FOLDER={folder}")) >= 3, within=10, what="it has a daemon")
    parent.send(signal.SIGTERM)
    until(lambda: "child stopping" in parent.log_tail(), within=10, what="it is being stopped")
    assert parent.is_running
    parent.send(signal.SIGTERM)
    assert parent.wait(20) == 0
    assert touching(f"FOLDER={folder}") == []


def test_a_child_dies_with_its_parent_and_gives_the_inherited_lock_back(folder: Path, parents: list[Process]) -> None:
    parent = start('echo up > "$FOLDER/told"; exec sleep 1000', folder, parents)
    until(lambda: (folder / "told").exists(), within=20, what="the child is up", explain=parent.log_tail)
    assert [person.name for person in touching(f"{folder}/lock") if person.pid != parent.pid] == ["sleep"]
    parent.kill9()
    until(lambda: not touching(f"{folder}/lock"), within=10, what="nobody holds the lock")
