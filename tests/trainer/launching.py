"""Real ranks under a real torchrun, warm or cold, for the tests of the trainer."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from core.recipes import parse_spec
from core.run_dir import MetricLine, ProgressFile, ResultFile, RunDir, RunFile, read_model, write_atomically
from core.states import Reason
from tests.bed.waiting import until
from worker.launch_plan import LaunchPlan, plan_launch
from worker.outcome import Outcome, classify, read_evidence

WARM_PARENT = Path(__file__).with_name("warm_parent.py")
SHUTDOWN_SECONDS = 3
PATIENCE = 60.0  # seconds; a cold start on a busy machine


class WarmParent:
    """One for the session: its forks reach their first step in a tenth of a second."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, str(WARM_PARENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, run_dir: RunDir, plan: LaunchPlan) -> int:
        assert self.process.stdin is not None
        request = {"run_dir": str(run_dir.root), "argv": plan.argv, "env": plan.env}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self._answer()["pid"])

    def wait(self) -> int:
        return self._answer()["code"]

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def _answer(self) -> dict[str, int]:
        assert self.process.stdout is not None
        answer: dict[str, int] = json.loads(self.process.stdout.readline())
        return answer


def start_cold(run_dir: RunDir, plan: LaunchPlan) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "trainer.agent", str(run_dir.ranks), *plan.argv]
    with (run_dir.logs / "agent.log").open("wb") as log:
        return subprocess.Popen(command, env=plan.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


@dataclass
class Attempt:
    """One attempt of a job: its folder, and the torchrun in it."""

    run_dir: RunDir
    plan: LaunchPlan
    parent: WarmParent | None  # None: cold
    pid: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    code: int | None = field(default=None)

    def start(self) -> "Attempt":
        if self.parent is not None:
            self.pid = self.parent.start(self.run_dir, self.plan)
        else:
            self.process = start_cold(self.run_dir, self.plan)
            self.pid = self.process.pid
        return self

    def wait(self) -> "Attempt":
        """Until torchrun has ended."""
        self.code = self.parent.wait() if self.parent is not None else self.process.wait(PATIENCE) if self.process else None
        return self

    def run(self) -> "Attempt":
        return self.start().wait()

    def wait_for_step(self, step: int) -> None:
        until(lambda: self.metrics() and self.metrics()[-1].step >= step, within=PATIENCE, what=f"step {step}", explain=self.logs)

    def wait_for(self, question: Callable[[], object], what: str) -> None:
        until(question, within=PATIENCE, what=what, explain=self.logs)

    def rank_pids(self) -> list[int]:
        """The agent's children, the first rank first."""
        return sorted(int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill_everything(self) -> None:
        """torchrun dies without a word; its ranks with it, for they have asked the kernel for that."""
        os.kill(self.pid, signal.SIGKILL)

    def metrics(self) -> list[MetricLine]:
        if not self.run_dir.metrics.exists():
            return []
        whole = self.run_dir.metrics.read_bytes().rpartition(b"\n")[0]
        return [MetricLine.model_validate_json(line) for line in whole.splitlines()]

    def series(self, name: str) -> list[float]:
        return [line.values[name] for line in self.metrics() if name in line.values]

    def result(self) -> ResultFile | None:
        return read_model(self.run_dir.result, ResultFile)

    def weights(self) -> str:
        """The SHA-256 that a successful attempt has told."""
        result = self.result()
        assert result is not None, self.logs()
        assert result.weights_sha256 is not None, self.logs()
        return result.weights_sha256

    def progress(self) -> ProgressFile:
        progress = read_model(self.run_dir.progress, ProgressFile)
        assert progress is not None
        return progress

    def outcome(self) -> Outcome:
        return classify(read_evidence(self.run_dir), self.code)

    def expect(self, reason: Reason) -> Outcome:
        outcome = self.outcome()
        assert outcome.reason is reason, f"{outcome}\n{self.logs()}"
        return outcome

    def logs(self) -> str:
        """What was printed, for the message of a test that fails."""
        files = sorted(path for path in self.run_dir.logs.rglob("*.log") if path.is_file())
        return "\n".join(f"--- {path.relative_to(self.run_dir.root)}\n{path.read_text(errors='replace')[-3000:]}" for path in files)


@dataclass
class Launch:
    """Makes attempts below one folder."""

    root: Path
    parent: WarmParent
    data_dir: Path | None = None
    num_made: int = 0

    def __call__(
        self,
        spec: dict[str, Any],
        *,
        num_ranks: int = 2,
        resume_from: Path | None = None,
        base_model_dir: Path | None = None,
        number: int = 1,
        cold: bool = False,
    ) -> Attempt:
        """An attempt that is ready to start."""
        self.num_made += 1
        run_dir = RunDir.create(self.root / f"run{self.num_made}")
        resources = {"devices_per_node": num_ranks, "accelerator": "cpu"}
        run_file = RunFile(
            job_id="job_of_a_test",
            attempt=number,
            spec=parse_spec(json.dumps({"resources": resources, **spec})),
            device="cpu",
            data_dir=str(self.data_dir) if self.data_dir else None,
            resume_from=str(resume_from) if resume_from else None,
            base_model_dir=str(base_model_dir) if base_model_dir else None,
            cache_dir=str(self.root / "prepared"),
        )
        write_atomically(run_dir.spec, run_file)
        plan = plan_launch(
            run_dir,
            attempt_id=f"att_{os.getpid()}_{self.num_made}",
            spec=run_file.spec,
            devices=tuple(range(num_ranks)),
            device_kind="cpu",
            shutdown_timeout=timedelta(seconds=SHUTDOWN_SECONDS),
        )
        return Attempt(run_dir=run_dir, plan=plan, parent=None if cold else self.parent)

    def killed_and_resumed(
        self, spec: dict[str, Any], *, after: int, num_ranks: int = 2, victim: Literal["agent", "rank"] = "agent"
    ) -> Attempt:
        """The second attempt of a run whose first was killed after this step, and in the middle: it had neither ended nor lost all."""
        first = self(spec, num_ranks=num_ranks).start()
        first.wait_for_step(after)
        first.wait_for(first.run_dir.complete_checkpoints, "a checkpoint")
        os.kill(first.pid if victim == "agent" else first.rank_pids()[1], signal.SIGKILL)
        first.wait()
        assert first.result() is None, "it ended before it was killed"
        checkpoint, findings = first.run_dir.newest_verified_checkpoint()
        assert checkpoint is not None
        assert findings == []
        second = self(spec, num_ranks=num_ranks, number=2, resume_from=checkpoint).run()
        steps = [line.step for line in second.metrics() if "loss" in line.values]
        assert steps, f"the checkpoint was that of the end, and nothing was trained\n{second.logs()}"
        assert steps[0] > int(checkpoint.name.removeprefix("step-"))
        return second
