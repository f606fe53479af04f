"""Trees of real processes for the tests of launching and killing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from core.recipes import parse_spec
from core.run_dir import RunDir
from tests.bed.waiting import until
from worker.devices import Reservation, busy, reserve_free
from worker.launch_plan import LaunchPlan, plan_launch
from worker.processes import marked

RANK = Path(__file__).with_name("rank.py")
NUM_DEVICES = 2
START_SECONDS = 40.0  # a cold start on a busy machine
END_SECONDS = 5.0
_numbers = iter(range(1_000_000))


@dataclass(frozen=True)
class Site:
    """One attempt's folder and the node's lock file beside it."""

    run_dir: RunDir
    locks: Path

    def plan(self, action: str, *, grace: float = 20, environ: dict[str, str] | None = None) -> LaunchPlan:
        """Two ranks of ``rank.py`` that do ``action``."""
        plan = plan_launch(
            self.run_dir,
            attempt_id=f"att_test{os.getpid()}x{next(_numbers)}",
            spec=parse_spec('{"recipe": "scripted", "training": {"threads_per_rank": 3}}'),
            devices=tuple(range(NUM_DEVICES)),
            device_kind="cpu",
            shutdown_timeout=timedelta(seconds=grace),
            environ=environ or {},
        )
        options = plan.argv[:-2]
        return replace(plan, argv=(*options, str(RANK), str(self.run_dir.root), action))

    def reserve(self) -> Reservation:
        return reserve_free(self.locks, NUM_DEVICES)

    def busy(self) -> set[int]:
        return busy(self.locks, NUM_DEVICES)

    def told(self, name: str) -> dict[int, str]:
        """What the ranks have said under ``name``, by rank."""
        return {int(path.name.rsplit("-", 1)[1]): path.read_text() for path in self.run_dir.root.glob(f"{name}-*")}

    def wait_told(self, name: str, num_ranks: int = 2) -> dict[int, str]:
        return until(
            lambda: told if len(told := self.told(name)) == num_ranks else None, within=START_SECONDS, what=name, explain=self.agent_log
        )

    def agent_log(self) -> str:
        log = self.run_dir.logs / "agent.log"
        return log.read_text() if log.exists() else "no agent.log"

    def expect_clean(self, plan: LaunchPlan, within: float = END_SECONDS) -> None:
        """No process of the attempt is left, and its devices are free."""
        until(lambda: not marked(plan.attempt_id), within=within, what="no process left", explain=lambda: str(marked(plan.attempt_id)))
        until(lambda: not self.busy(), within=within, what="devices free", explain=lambda: str(self.busy()))


@contextmanager
def reserved(site: Site) -> Iterator[Reservation]:
    with site.reserve() as reservation:
        assert reservation.devices == (0, 1)
        yield reservation


def holder_arguments(site: Site, plan: LaunchPlan, door: Path | None) -> list[str]:
    """For ``holder.py``: what it shall launch, and where."""
    path = site.run_dir.root / "plan.json"
    path.write_text(plan.to_json())
    return [json.dumps({"plan": str(path), "locks": str(site.locks), "door": str(door) if door else None})]


def start_pad(door: Path, modules: Sequence[str]) -> "subprocess.Popen[str]":
    """A launch pad that has imported ``modules`` only; its standard output holds one line when it is ready."""
    argv = [sys.executable, "-m", "worker.launch_pad", str(door), *modules]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
