"""kill -9 of every process around a run: nothing of the attempt is left, and its devices become free."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bed.waiting import until
from tests.worker.trees import END_SECONDS, START_SECONDS, Site, holder_arguments, reserved
from worker.launch_plan import LaunchPlan
from worker.launcher import Launcher
from worker.processes import marked, parents

HOLDER = "tests.worker.holder"


@contextmanager
def held_tree(site: Site, plan: LaunchPlan, door: Path | None, how: str) -> Iterator[dict[str, int]]:
    """A tree that another process holds; the pids of holder, keeper, agent and rank 1."""
    argv = [sys.executable, "-m", HOLDER, *holder_arguments(site, plan, door)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            told = json.loads(holder.stdout.readline())
            assert told.pop("launched") == how
            ready = site.wait_told("ready")
            yield {**told, "holder": holder.pid, "rank": int(ready[1])}
        finally:
            holder.kill()


@pytest.mark.parametrize("victim", ["holder", "keeper", "agent", "rank"])
def test_promise_07_nothing_outlives_a_killed(victim: str, how: str, door_or_none: Path | None, site: Site) -> None:
    plan = site.plan("ignore" if victim != "rank" else "stay", grace=2)
    with held_tree(site, plan, door_or_none, how) as pids:
        assert site.busy() == {0, 1}
        os.kill(pids[victim], signal.SIGKILL)
        until(lambda: set(marked(plan.attempt_id)) <= {pids["keeper"]}, within=END_SECONDS, what=f"tree gone after its {victim}")
        os.kill(pids["holder"], signal.SIGKILL)  # lets go of its own copy of the locks
        site.expect_clean(plan)


def test_promise_07_a_daemon_does_not_outlive_a_killed_keeper(launcher: Launcher, site: Site) -> None:
    """Nobody adopts it for us then: its mark gives it away."""
    plan = site.plan("daemon and stay")
    with reserved(site) as reservation, launcher.start(plan, reservation.fd) as tree:
        site.wait_told("ready")
        site.wait_told("daemon", 1)
        until(lambda: tree.poll() and tree.agent_pid, within=END_SECONDS)
        assert tree.agent_pid is not None
        os.kill(parents()[tree.agent_pid], signal.SIGKILL)
        assert tree.wait_gone(END_SECONDS) == -9
        assert marked(plan.attempt_id) == []


def test_promise_07_a_daemon_does_not_outlive_a_killed_supervisor(door: Path, site: Site) -> None:
    plan = site.plan("daemon and stay")
    with held_tree(site, plan, door, "warm") as pids:
        site.wait_told("daemon", 1)
        os.kill(pids["holder"], signal.SIGKILL)
        site.expect_clean(plan)


def test_promise_07_a_device_stays_held_while_one_rank_lives(door: Path, site: Site) -> None:
    """Even when everything that should have ended that rank was killed."""
    plan = site.plan("orphan")
    with held_tree(site, plan, door, "warm") as pids:
        ranks = [int(pid) for pid in site.wait_told("ready").values()]
        for name in ("keeper", "holder", "agent"):
            os.kill(pids[name], signal.SIGKILL)
        until(lambda: sorted(marked(plan.attempt_id)) == sorted(ranks), within=END_SECONDS, what="only the ranks are left")
        os.kill(ranks[0], signal.SIGKILL)
        until(lambda: marked(plan.attempt_id) == ranks[1:], within=END_SECONDS)
        assert site.busy() == {0, 1}
        os.kill(ranks[1], signal.SIGKILL)
        site.expect_clean(plan)


def test_a_stopped_supervisor_does_not_stop_its_keeper(door: Path, site: Site) -> None:
    plan = site.plan("stay")
    with held_tree(site, plan, door, "warm") as pids:
        os.kill(pids["holder"], signal.SIGSTOP)
        os.kill(pids["agent"], signal.SIGKILL)
        until(lambda: not marked(plan.attempt_id), within=END_SECONDS, what="tree gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_keeper_cannot_be_talked_out_of_keeping(door: Path, site: Site, number: signal.Signals) -> None:
    plan = site.plan("stay")
    with held_tree(site, plan, door, "warm") as pids:
        os.kill(pids["keeper"], number)
        os.kill(pids["holder"], signal.SIGKILL)
        site.expect_clean(plan)


def test_a_keeper_whose_supervisor_never_says_start_launches_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.launcher.START", b"NEVER")
    with reserved(site) as reservation, Launcher(None).start(site.plan("print"), reservation.fd) as tree:
        assert tree.wait_gone(START_SECONDS) == -9
    assert not site.run_dir.logs.joinpath("agent.log").read_text()
    assert not site.told("env")
