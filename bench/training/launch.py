"""One real attempt without the service: torchrun, its ranks, and what they left."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from core.recipes import parse_spec
from core.run_dir import RunDir, RunFile, write_atomically
from worker.launch_plan import DeviceKind, plan_launch

SHUTDOWN = timedelta(seconds=10)
SPECS = Path(__file__).with_name("specs")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A finished attempt. ``cpu_seconds`` are those of the agent and all ranks, imports included."""

    run_dir: RunDir
    wall_seconds: float
    cpu_seconds: float

    @property
    def package(self) -> Path:
        return self.run_dir.artifacts

    def metrics(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.package / "metrics.json").read_text())
        return content

    def config(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.package / "config.json").read_text())
        ours: dict[str, Any] = content.get("trainyard", content)
        return ours

    def points(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run_dir.metrics.read_text().splitlines()]

    def series(self, name: str) -> list[float]:
        return [point["values"][name] for point in self.points() if name in point["values"]]

    @property
    def training_seconds(self) -> float:
        """Wall time from the first step's end to the test's score: steps, evaluations, checkpoints, the test."""
        points = self.points()
        tested = next(point for point in points if any(name.startswith("test_") for name in point["values"]))
        return float(tested["at"] - points[0]["at"])


@dataclass(slots=True)
class Place:
    """Where attempts run: the datasets, and a folder for all that is made on the way, prepared data included."""

    data: Path
    work: Path
    device: DeviceKind = "cpu"
    num_made: int = field(default=0)

    def run(self, spec: dict[str, Any], *, num_ranks: int = 2, base_model: Path | None = None, device: DeviceKind | None = None) -> Attempt:
        """Runs the spec to its end; RuntimeError with the end of the logs when it does not succeed.

        A dataset path starts with /data, which stands for the folder of datasets.
        """
        self.num_made += 1
        run_dir = RunDir.create(self.work / f"run{self.num_made}")
        device = device or self.device
        resources = {"devices_per_node": num_ranks, "accelerator": device}
        run_file = RunFile(
            job_id=f"bench_{spec.get('name', spec['recipe'])}",
            attempt=1,
            spec=parse_spec(json.dumps({**spec, "resources": resources})),
            device=device,
            data_dir=str(self.dataset(spec)) if spec.get("dataset") else None,
            base_model_dir=str(base_model) if base_model else None,
            cache_dir=str(self.work / "cache"),
        )
        write_atomically(run_dir.spec, run_file)
        return self._launch(run_dir, run_file, num_ranks)

    def dataset(self, spec: dict[str, Any]) -> Path:
        if spec["dataset"].get("builtin") == "digits":
            folder = self.work / "digits"
            if not folder.exists():
                subprocess.run([sys.executable, "-m", "trainer.data.digits", str(folder)], check=True, stdout=subprocess.DEVNULL)
            return folder
        found = self.data / Path(spec["dataset"]["path"]).relative_to("/data")
        if not found.exists():
            raise FileNotFoundError(f"{found} is not there; --data names the folder that holds the datasets")
        return found

    def forget(self, *attempts: Attempt) -> None:
        """Checkpoints and packages of a few hundred megabytes each are not kept until the end."""
        for attempt in attempts:
            shutil.rmtree(attempt.run_dir.root, ignore_errors=True)

    def _launch(self, run_dir: RunDir, run_file: RunFile, num_ranks: int) -> Attempt:
        plan = plan_launch(
            run_dir,
            attempt_id=f"bench_{os.getpid()}_{self.num_made}",
            spec=run_file.spec,
            devices=tuple(range(num_ranks)),
            device_kind=run_file.device,
            shutdown_timeout=SHUTDOWN,
            environ=os.environ,
        )
        command = [sys.executable, "-m", "trainer.agent", str(run_dir.ranks), *plan.argv]
        started = time.monotonic()
        with plan.log.open("wb") as log:
            process = subprocess.Popen(command, env=plan.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.terminate()  # the ranks die with the agent
                raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or not run_dir.result.exists():
            raise RuntimeError(f"the attempt ended with {process.returncode}\n{_logs(run_dir)}")
        return Attempt(run_dir, time.monotonic() - started, usage.ru_utime + usage.ru_stime)


def read_spec(name: str, **changes: Any) -> dict[str, Any]:
    """``specs/<name>.json``; ``changes`` replace knobs, of a section those that are named."""
    spec: dict[str, Any] = json.loads((SPECS / f"{name}.json").read_text())
    for key, value in changes.items():
        spec[key] = {**spec.get(key, {}), **value} if isinstance(value, dict) else value
    return spec


def _logs(run_dir: RunDir) -> str:
    files = sorted(path for path in run_dir.logs.rglob("*.log") if path.is_file())
    return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in files)
