"""Launching a tree, warm and cold, and what comes of it."""

import os
from pathlib import Path

import pytest

from core.states import Reason
from tests.bed.waiting import until
from tests.worker.trees import END_SECONDS, START_SECONDS, Site, reserved
from worker.launch_plan import LaunchPlan
from worker.launcher import Launcher
from worker.outcome import Outcome, classify, read_evidence
from worker.processes import marked


def run_to_the_end(launcher: Launcher, site: Site, plan: LaunchPlan) -> int:
    with reserved(site) as reservation, launcher.start(plan, reservation.fd) as tree:
        reservation.close()
        returncode = tree.wait_gone(START_SECONDS)
    assert returncode is not None, site.agent_log()
    site.expect_clean(plan)
    return returncode


def test_every_rank_runs_and_prints_into_its_own_log(launcher: Launcher, site: Site) -> None:
    assert run_to_the_end(launcher, site, site.plan("print")) == 0
    for rank in (0, 1):
        (log,) = site.run_dir.logs.glob(f"*/attempt_0/{rank}/stdout.log")
        assert log.read_text() == f"this is rank {rank}\n"


def test_warm_and_cold_ranks_see_the_plans_environment_and_no_other(door: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_WORKER_TOKEN", "secret")
    plan = site.plan("print", environ={"TRAINYARD_WORKER_TOKEN": "secret", "NCCL_DEBUG": "INFO"})
    names = []
    for launcher in (Launcher(door), Launcher(None)):
        run_to_the_end(launcher, site, plan)
        seen = dict(line.split("=", 1) for line in site.told("env")[1].splitlines())
        expect_environment(seen, plan)
        names.append(seen.keys())
    assert names[0] == names[1]


def expect_environment(seen: dict[str, str], plan: LaunchPlan) -> None:
    assert "secret" not in seen.values()
    assert seen["OMP_NUM_THREADS"] == seen["MKL_NUM_THREADS"] == "3"
    overridden = {"TORCHELASTIC_ERROR_FILE"}  # each rank has an error file of its own
    assert {name: seen[name] for name in plan.env.keys() - overridden} == {name: plan.env[name] for name in plan.env.keys() - overridden}
    assert seen["NCCL_DEBUG"] == "INFO"


def test_a_tree_tells_its_agent_and_its_ranks_hold_the_devices(launcher: Launcher, how: str, site: Site) -> None:
    plan = site.plan("stay")
    with reserved(site) as reservation, launcher.start(plan, reservation.fd) as tree:
        assert tree.launched == how
        ranks = {int(pid) for pid in site.wait_told("ready").values()}
        assert {log.read_text() for log in site.run_dir.logs.glob("*/attempt_0/*/stdout.log")} == {"up \N{CHECK MARK}\n"}
        event = until(tree.poll, within=END_SECONDS)
        assert (event.kind, event.number) == ("started", tree.agent_pid)
        assert ranks <= set(tree.rank_pids())
        assert {tree.agent_pid, *ranks} <= set(marked(plan.attempt_id))
        assert {os.readlink(f"/proc/{pid}/fd/0") for pid in ranks} == {str(site.locks)}
        reservation.close()
        assert site.busy() == {0, 1}
    site.expect_clean(plan)


def test_terminate_reaches_the_ranks_and_lets_them_leave(launcher: Launcher, site: Site) -> None:
    plan = site.plan("stay")
    with reserved(site) as reservation, launcher.start(plan, reservation.fd) as tree:
        site.wait_told("ready")
        tree.terminate()
        assert tree.wait_gone(START_SECONDS) == 143
    assert set(site.told("asked")) == {0, 1}
    assert not site.run_dir.ranks.exists()


def test_a_rank_that_ignores_the_request_is_killed_after_the_grace(launcher: Launcher, site: Site) -> None:
    with reserved(site) as reservation, launcher.start(site.plan("ignore", grace=1), reservation.fd) as tree:
        site.wait_told("ready")
        tree.terminate()
        assert tree.wait_gone(0.5) is None
        assert tree.wait_gone(START_SECONDS) == 143


def test_kill_ends_everything_at_once(launcher: Launcher, site: Site) -> None:
    plan = site.plan("ignore")
    with reserved(site) as reservation, launcher.start(plan, reservation.fd) as tree:
        site.wait_told("ready")
        tree.kill()
        assert tree.wait_gone(END_SECONDS) == -9
    reservation.close()
    site.expect_clean(plan)


def test_a_daemon_does_not_outlive_ranks_that_ended_well(launcher: Launcher, site: Site) -> None:
    assert run_to_the_end(launcher, site, site.plan("daemon")) == 0


@pytest.mark.parametrize(
    ("action", "reason", "code"),
    [
        ("raise", Reason.USER_ERROR, 1),
        ("exit", Reason.USER_ERROR, 17),
        ("SIGSEGV", Reason.USER_ERROR, -11),
        ("SIGKILL", Reason.RANK_DIED, -9),
    ],
)
def test_the_rank_that_failed_is_named_with_its_own_code(door: Path, site: Site, action: str, reason: Reason, code: int) -> None:
    outcome = outcome_of(Launcher(door), site, action)
    assert (outcome.reason, outcome.rank, outcome.exit_code) == (reason, 1, code)


def test_an_exception_is_told_with_its_stack(launcher: Launcher, how: str, site: Site) -> None:
    outcome = outcome_of(launcher, site, "raise")
    assert (outcome.reason, outcome.rank, outcome.exit_code) == (Reason.USER_ERROR, 1, 1)
    assert outcome.message.endswith("ValueError: no such luck")
    # A cold rank that is no recipe's says it in its log alone; a forked one is recorded by torchrun.
    stack = outcome.log_tail if how == "cold" else outcome.stack
    assert stack is not None
    assert "rank.py" in stack


def test_a_killed_cold_rank_is_told_from_the_one_that_torchrun_stopped(site: Site) -> None:
    outcome = outcome_of(Launcher(None), site, "SIGKILL")
    assert (outcome.reason, outcome.rank, outcome.exit_code) == (Reason.RANK_DIED, 1, -9)


def outcome_of(launcher: Launcher, site: Site, action: str) -> Outcome:
    returncode = run_to_the_end(launcher, site, site.plan(action))
    return classify(read_evidence(site.run_dir), returncode)


def test_a_launcher_that_cannot_start_is_no_fault_of_the_user(door: Path, site: Site) -> None:
    plan = site.plan("print")
    broken = LaunchPlan.from_json(plan.to_json().replace("--rdzv-backend=static", "--rdzv-backend=nonsense"))
    returncode = run_to_the_end(Launcher(door), site, broken)
    outcome = classify(read_evidence(site.run_dir), returncode)
    assert outcome.reason is Reason.RANK_DIED
    assert "nonsense" in outcome.message
