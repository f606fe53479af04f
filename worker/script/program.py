"""One attempt's script, from its code to its artifacts: what the supervisor asks for, in the order in which it asks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from core.inside import open_inside
from core.recipes.script import ScriptSpec
from core.run_dir import ResultFile, RunDir, write_atomically
from core.states import EFFECTS, Budget, Reason
from core.wire.worker import Claim
from worker.confinement.offer import Offer
from worker.confinement.walls import Walls
from worker.launch_plan import DeviceKind, LaunchPlan
from worker.materialise import CannotPrepare, Materialiser
from worker.node_dir import NodeDir
from worker.orders import NodeFacts
from worker.outcome import Outcome
from worker.resume import ResumePoint
from worker.script.code import place_code
from worker.script.confine import Confinement, ScriptLimits, resume_folder
from worker.script.contract import Setting, in_place, write_inputs
from worker.script.disk import DiskGuard
from worker.script.harvest import Gathered, Harvest
from worker.script.launch import plan_script
from worker.script.layout import ScriptDirs
from worker.script.metrics import ScriptMetrics
from worker.script.reporting import Reporting
from worker.script.requirements import PackageSource, python_for
from worker.script.secrets import hand_over, take_back
from worker.script.snapshots import FolderCheckpoints, restore
from worker.tracking.process import DidNotListen

log = logging.getLogger("trainyard.worker.script")

MAX_FAILURE_BYTES = 1024
Report = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptNode:
    """What a script has to know of the node."""

    device_kind: DeviceKind
    environ: Mapping[str, str]
    node_dir: NodeDir
    offer: Offer
    limits: ScriptLimits
    shutdown_timeout: timedelta
    wheels_dir: Path | None = None
    earlier: Sequence[RunDir] = ()  # of the job's attempts before, the newest first

    @classmethod
    def of(cls, facts: NodeFacts, node_dir: NodeDir, *, earlier: Sequence[RunDir]) -> "ScriptNode":
        return cls(
            device_kind=facts.device_kind,
            environ=facts.environ,
            node_dir=node_dir,
            offer=facts.offer,
            limits=facts.script_limits,
            wheels_dir=facts.wheels_dir,
            shutdown_timeout=timedelta(seconds=facts.stop_grace_seconds),
            earlier=earlier,
        )


class Script:
    """``report`` takes an event's type and message; ``exceeded`` is called when ``overrun`` has something to say."""

    def __init__(
        self, claim: Claim, spec: ScriptSpec, run_dir: RunDir, node: ScriptNode, *, report: Report, exceeded: Callable[[], None]
    ) -> None:
        self._claim = claim
        self._spec = spec
        self._run_dir = run_dir
        self._node = node
        self._report = report
        self._dirs = ScriptDirs.of(run_dir)
        self._reporting = Reporting(run_dir, claim.job_id, earlier=node.earlier)
        self._harvest = Harvest(self._dirs, run_dir.artifacts, {"mlflow": self._reporting.folder.artifacts})
        self._metrics = ScriptMetrics(run_dir, self._dirs, spec.metric_patterns, self._reporting)
        self._checkpoints = FolderCheckpoints(self._dirs.root, self._dirs.checkpoints, run_dir)
        self._confinement = Confinement(run_dir, self._dirs, node.node_dir, node.offer, node.limits, node.environ)
        self._disk = DiskGuard(
            self._confinement.writable, node.limits.max_disk_bytes, user=lambda: self._confinement.user, exceeded=exceeded
        )
        self._setting: Setting | None = None
        self._walls: Walls | None = None
        self._python = Path()

    def prepare(self, materialiser: Materialiser, channels: Mapping[str, Path], point: ResumePoint | None) -> None:
        """Puts everything in place. CannotPrepare when something cannot be had.

        Call it in a thread that lives as long as the attempt: the tracking server dies with it.
        """
        dirs, spec = self._dirs, self._spec
        if spec.isolation == "strict" and self._node.offer.level != "strict":
            raise CannotPrepare(Reason.PROTOCOL, f"this worker offers no strict isolation: {'; '.join(self._node.offer.lacks)}")
        self._reporting.launch(self._node.environ)
        dirs.create()
        place_code(spec, dirs.code, materialiser)
        source = PackageSource(wheels_dir=self._node.wheels_dir, environ=self._node.environ)
        self._python = python_for(spec, dirs.code, source, materialiser)
        hand_over(spec, self._claim.secrets, dirs.secrets)
        resume_from = restore(point, dirs.checkpoints) if point else None
        if resume_from is not None:
            resume_from = resume_folder(resume_from, self._run_dir, is_shared=self._node.offer.user is None)
        self._checkpoints.begin(point.step if point else None)
        self._setting = Setting(
            spec=in_place(spec, dirs),
            job_id=self._claim.job_id,
            dirs=dirs,
            run_dir=self._run_dir,
            device_kind=self._node.device_kind,
            num_devices=len(self._claim.devices),
            channels=channels,
            resume_from=resume_from,
        )
        write_inputs(self._setting)
        self._harvest.remember()
        self._walls = self._confinement.enclose(
            python=self._python,
            channels=channels,
            secrets=[self._reporting.token],
            others=[resume_from] if resume_from else [],
        )
        self._metrics.step = point.step if point else 0

    def plan(self) -> LaunchPlan:
        """Call it after ``prepare``."""
        assert self._setting is not None
        self._metrics.tell_progress()
        self._disk.start()
        return plan_script(
            replace(self._setting, reporting=self._start_reporting()),
            attempt_id=self._claim.attempt_id,
            devices=self._claim.devices,
            python=self._python,
            shutdown_timeout=self._node.shutdown_timeout,
            environ=self._node.environ,
            walls=self._walls,
        )

    def _start_reporting(self) -> dict[str, str]:
        try:
            return self._reporting.start(self._node.environ)
        except DidNotListen as error:
            self._report("script.no_tracking", f"calls of MLflow and of transformers' status hook are not heard: {error}")
            return {}

    def gather_metrics(self) -> None:
        """From the shipper's thread, while the script runs."""
        self._reporting.look_after(self._node.environ)
        self._metrics.gather()

    def keep_checkpoint(self) -> None:
        """From the checkpoints' thread, while the script runs."""
        self._checkpoints.look(self._metrics.step)

    def overrun(self) -> str | None:
        """What of its limits the script has exceeded, in words."""
        self._disk.check()
        return self._disk.overrun

    def leave(self) -> None:
        """Takes back what only a running script may have. Once more does no harm."""
        self._disk.stop()
        self._confinement.lift()
        take_back(self._dirs.secrets)
        self._reporting.stop()

    def conclude(self, outcome: Outcome) -> Outcome:
        """Keeps what the script has left, and tells its ending in its own words. Call it when nothing of it runs any more."""
        self.leave()
        self._metrics.gather(is_over=True)
        is_whole = outcome.reason in (Reason.PAUSED, Reason.DRAINED) and not outcome.forced
        self._checkpoints.look(self._metrics.step, is_over=True, is_whole=is_whole)
        outcome = self._of_full_disk(self._in_its_own_words(outcome))
        if outcome.reason is not Reason.COMPLETED and EFFECTS[outcome.reason].budget is not Budget.USER:
            return outcome
        self._reporting.keep(self._run_dir.artifacts / "tracking")
        gathered = self._harvest.gather()
        if gathered.refused:
            names = ", ".join(ascii(name) for name in gathered.refused[:10])
            self._report("script.refused_files", f"{len(gathered.refused)} file(s) are no artifacts: {names}"[:2000])
        if outcome.reason is Reason.COMPLETED:
            self._complete(gathered)
        return outcome

    def _in_its_own_words(self, outcome: Outcome) -> Outcome:
        """What the script itself wrote about its failure, where SageMaker's scripts do."""
        if outcome.reason is not Reason.USER_ERROR:
            return outcome
        try:
            with open_inside(self._dirs.root, self._dirs.failure) as file:
                text = file.read(MAX_FAILURE_BYTES).decode(errors="replace").strip()
        except OSError:
            return outcome
        return replace(outcome, message=f"{text} ({outcome.message})") if text else outcome

    def _of_full_disk(self, outcome: Outcome) -> Outcome:
        """A write that is refused because a file has reached the limit is an error of the script's own only at first sight."""
        overrun = self._disk.look() if outcome.reason is Reason.USER_ERROR else None
        return replace(outcome, reason=Reason.LIMIT, message=f"{overrun} ({outcome.message})") if overrun else outcome

    def _complete(self, gathered: Gathered) -> None:
        step = self._metrics.last_step()
        if not gathered.num_files and not step:
            self._report(
                "script.no_output",
                "the script ended with code 0, but left no file in its model or output folder or beside its code, and no metric",
            )
        result = ResultFile(outcome="succeeded", step=step, metrics=self._metrics.last_values())
        write_atomically(self._run_dir.result, result)
