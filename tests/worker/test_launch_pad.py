"""The launch pad: what happens to runs and to the next launch when it dies, hangs, or is spoken to by strangers."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bed.waiting import until
from tests.worker.conftest import PAD_MODULES
from tests.worker.trees import END_SECONDS, START_SECONDS, Site, reserved, start_pad
from worker.launcher import Launcher
from worker.pad_door import PadUnavailable, Request, ask
from worker.processes import descendants, marked


@contextmanager
def new_pad(door: Path, modules: tuple[str, ...] = PAD_MODULES) -> Iterator["subprocess.Popen[str]"]:
    with start_pad(door, modules) as pad:
        assert pad.stdout is not None
        assert '"ready": true' in pad.stdout.readline()
        try:
            yield pad
        finally:
            pad.kill()


def run(launcher: Launcher, site: Site) -> str:
    """Launches a run to its end and says how that was done."""
    plan = site.plan("print")
    with reserved(site) as reservation, launcher.start(plan, reservation.fd) as tree:
        assert tree.wait_gone(START_SECONDS) == 0
    site.expect_clean(plan)
    return tree.launched


def test_a_killed_pad_disturbs_no_run_and_a_new_one_takes_its_place(tmp_path: Path, site: Site) -> None:
    door = tmp_path / "door"
    launcher = Launcher(door)
    plan = site.plan("stay")
    with new_pad(door) as pad, reserved(site) as reservation:
        with launcher.start(plan, reservation.fd) as tree:
            site.wait_told("ready")
            pad.kill()
            pad.wait()
            assert tree.wait_gone(0.3) is None
            assert len(marked(plan.attempt_id)) == 4  # keeper, agent, two ranks
            tree.terminate()
            assert tree.wait_gone(END_SECONDS) == 143
        reservation.close()
        site.expect_clean(plan)
    assert door.exists()  # nobody was left to remove it
    assert run(launcher, site) == "cold"
    with new_pad(door):
        assert run(launcher, site) == "warm"


def test_sigterm_ends_the_pad_and_leaves_its_forks_alone(tmp_path: Path, site: Site) -> None:
    door = tmp_path / "door"
    plan = site.plan("stay")
    with new_pad(door) as pad, reserved(site) as reservation, Launcher(door).start(plan, reservation.fd) as tree:
        site.wait_told("ready")
        pad.terminate()
        assert pad.wait(END_SECONDS) == 0
        assert tree.wait_gone(0.3) is None
        tree.terminate()
        assert tree.wait_gone(END_SECONDS) == 143


def test_a_pad_that_hangs_is_done_without_and_keeps_no_device(tmp_path: Path, site: Site) -> None:
    door = tmp_path / "door"
    with new_pad(door) as pad:
        os.kill(pad.pid, signal.SIGSTOP)
        assert run(Launcher(door, pad_seconds=0.2), site) == "cold"


def test_a_keeper_that_is_forked_too_late_launches_nothing(tmp_path: Path, site: Site) -> None:
    door = tmp_path / "door"
    plan = site.plan("print")
    with new_pad(door) as pad, reserved(site) as reservation:
        os.kill(pad.pid, signal.SIGSTOP)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs, pytest.raises(PadUnavailable):
            ask(door, Request("keeper", plan.to_json()), (theirs.fileno(), reservation.fd), timeout=0.1)
        os.kill(pad.pid, signal.SIGCONT)
        ask(door, Request("ping"), timeout=END_SECONDS)  # served after the request that came too late
        until(lambda: not descendants(pad.pid), within=END_SECONDS, what="the late keeper left")
        reservation.close()
        site.expect_clean(plan)
        assert site.agent_log() == "no agent.log"


def test_the_pad_serves_its_own_user_alone(door: Path) -> None:
    assert stat.S_IMODE(door.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", [b"\xff\x00", b"[]", b'{"kind": "keeper", "shell": "rm"}', b"{" * 100_000])
def test_strange_requests_are_refused_and_the_pad_goes_on(door: Path, text: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(door))
        connection.send(text)
        assert b"not a request" in connection.recv(10_000)
    assert ask(door, Request("ping"), timeout=END_SECONDS) > 0


def test_a_request_without_its_descriptors_is_refused(door: Path) -> None:
    with pytest.raises(PadUnavailable, match="needs two descriptors"):
        ask(door, Request("keeper", "{}"), timeout=END_SECONDS)


def test_a_pad_that_runs_threads_refuses_to_fork(tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text("import threading, signal\nthreading.Thread(target=signal.pause, daemon=True).start()\n")
    pad = subprocess.run(
        [sys.executable, "-m", "worker.launch_pad", str(tmp_path / "door"), "threaded"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert pad.returncode == 1
    assert "the pad runs 2 threads" in pad.stderr


def test_many_launches_leave_nothing_open_in_the_pad(door: Path, site: Site) -> None:
    pid = ask(door, Request("ping"), timeout=END_SECONDS)
    run(Launcher(door), site)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(5):
        run(Launcher(door), site)
    ask(door, Request("ping"), timeout=END_SECONDS)
    until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before, within=END_SECONDS, what="as few open files as before")
    until(lambda: not descendants(pid), within=END_SECONDS, what="no zombies")
