"""Starting a supervisor: what it gets, and that the claim reaches it and nobody else."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.waiting import until
from tests.worker.trees import END_SECONDS, START_SECONDS, Site, reserved, start_pad
from worker.launcher import Launcher

# Takes the place of the real one in a pad, and tells what it was given.
STAND_IN = """
import json, os, sys
sys.modules["worker.supervisor"] = sys.modules[__name__]

def main(claim_fd, locks_fd):
    claim = open(claim_fd, "rb").read()
    told = {
        "claim": len(claim), "pid": os.getpid(), "session": os.getsid(0), "locks": os.readlink(f"/proc/self/fd/{locks_fd}"),
        "stdin": os.readlink("/proc/self/fd/0"),
        "open": [int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + name)],
        "given": [claim_fd, locks_fd],
    }
    with open(os.path.join(os.path.dirname(__file__), ".told"), "w") as file:
        json.dump(told, file)
    os.rename(file.name, file.name.replace(".told", "told"))
"""


@pytest.fixture
def stand_in_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A pad whose supervisors are the stand-in."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with start_pad(tmp_path / "door", ("stand_in",)) as pad:
        assert pad.stdout is not None
        assert '"ready": true' in pad.stdout.readline()
        yield tmp_path / "door"
        pad.kill()


def test_a_warm_supervisor_gets_its_claim_and_its_locks_and_nothing_else(stand_in_door: Path, site: Site) -> None:
    claim = b"x" * 1_000_000  # more than a pipe holds
    with reserved(site) as reservation:
        pid = Launcher(stand_in_door).start_supervisor(claim, reservation.fd)
        path = until(lambda: path if (path := stand_in_door.with_name("told")).exists() else None, within=START_SECONDS)
    told = json.loads(path.read_text())
    assert told["claim"] == len(claim)
    assert told["pid"] == told["session"] == pid
    assert told["locks"] == str(site.locks)
    assert told["stdin"] == os.devnull
    assert set(told["open"]) <= {0, 1, 2, *told["given"]}
    until(lambda: not site.busy(), within=END_SECONDS, what="the supervisor's copy of the locks is closed with it")


def test_a_cold_supervisor_is_a_program_in_a_session_of_its_own(site: Site) -> None:
    launcher = Launcher(None)
    with reserved(site) as reservation:
        pid = launcher.start_supervisor(b"this is no claim", reservation.fd)
        assert os.getsid(pid) == pid
        # The kernel fills it in a moment after the program has begun.
        cmdline = until(Path(f"/proc/{pid}/cmdline").read_bytes, within=END_SECONDS, what="its command line is there")
        command = cmdline.split(b"\0")
        assert command[2] == b"worker.supervisor"
        assert str(reservation.fd).encode() == command[4]
    until(lambda: not site.busy(), within=START_SECONDS, what="it ends, having nothing to do")
    (child,) = launcher._supervisors
    assert child.wait(END_SECONDS) == 1


def test_a_supervisor_that_ends_before_it_has_its_claim_is_noticed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.launcher.SUPERVISOR", "worker.no_such_module")
    launcher = Launcher(None)
    with reserved(site) as reservation, pytest.raises(BrokenPipeError):
        launcher.start_supervisor(b"x" * 1_000_000, reservation.fd)
    assert [child.wait(END_SECONDS) for child in launcher._supervisors] == [1]
    assert isinstance(launcher._supervisors[0], subprocess.Popen)
