"""One attempt, from its claim to its finish: the story of a supervisor process.

Warm it is a fork of the launch pad, cold ``python -m worker.supervisor CLAIM_FD LOCK_FD``. It alone holds the lease token.
"""

import logging
import math
import os
import signal
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from core.errors import LeaseLost
from core.logs import configure_logs, mask
from core.recipes.script import ScriptSpec
from core.run_dir import RunDir, RunFile, write_atomically
from core.spec import MAIN_CHANNEL
from core.states import Reason
from core.wire.worker import FinishRequest, StartRequest
from worker.api_client import AttemptApi
from worker.cache_use import CacheUse
from worker.checkpoint_shipper import CheckpointShipper
from worker.devices import Reservation, adopt
from worker.download import Downloader
from worker.finishing import finish_attempt
from worker.launch_plan import LaunchPlan, plan_launch
from worker.launcher import Launcher
from worker.lease_keeper import LeaseKeeper
from worker.log_streams import LogStreams
from worker.materialise import CannotPrepare, Materialiser
from worker.node_dir import NodeDir
from worker.orders import Orders
from worker.outcome import Outcome, classify, num_oom_kills, read_evidence
from worker.patience import GaveUp, Patience
from worker.processes import hide_memory
from worker.resume import ResumePoint, choose_checkpoint
from worker.script.program import Script, ScriptNode
from worker.shipper import Shipper
from worker.stall import StallLimits
from worker.tree import Tree
from worker.wake import Wake
from worker.watch import Limits, Verdict, Watch, obeyed_reason
from worker.watched_thread import ThreadFailed

log = logging.getLogger("trainyard.worker.supervisor")

# A killed tree is gone in a fraction of a second; only a rank that the kernel itself holds takes longer.
KILL_SECONDS = 30.0


def main(claim_fd: int, lock_fd: int) -> None:
    """Reads the orders from the pipe and runs the attempt. No thread may exist before; this starts its own."""
    hide_memory()
    with open(claim_fd, "rb") as pipe:
        text = pipe.read()
    orders = Orders.model_validate_json(text)
    configure_logs(orders.node.log_level)
    attempt = Attempt(orders, adopt(lock_fd, orders.claim.devices))
    # A terminal's Ctrl-C means its node, which drains us; a SIGTERM of our own is a drain of this attempt alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, attempt.asked_to_leave)
    attempt.run()


class Attempt:
    """What one attempt consists of."""

    def __init__(self, orders: Orders, devices: Reservation) -> None:
        self._claim = orders.claim
        self._node = orders.node
        self._devices = devices
        self._dir = NodeDir(orders.node.work_dir)
        self._run_dir = self._dir.run_dir(orders.claim.job_id, orders.claim.attempt)
        self._wake = Wake()
        self._is_leaving = False
        self._api = AttemptApi(orders.node.api_url, orders.claim.attempt_id, orders.claim.lease_token)
        ttl, grace = orders.claim.lease_ttl_seconds, orders.node.fence_grace_seconds
        self._lease = LeaseKeeper(self._api, ttl=ttl, grace=grace, changed=self._wake.ring)
        self._patience = Patience(self._lease.lost)
        self._downloader = Downloader(self._api, self._patience)
        self._uses = CacheUse()
        self._script = self._new_script()
        self._logs = LogStreams(self._run_dir, len(orders.claim.devices))
        self._checkpoints = CheckpointShipper(
            self._api,
            self._patience,
            run_dir=self._run_dir,
            lose=self._lease.lose,
            failed=self._wake.ring,
            make=self._script.keep_checkpoint if self._script else lambda: None,
        )
        self._shipper = Shipper(
            self._api,
            self._patience,
            run_dir=self._run_dir,
            logs=self._logs,
            lose=self._lease.lose,
            failed=self._wake.ring,
            checkpoint_seen=self._checkpoints.seen,
            gather=self._script.gather_metrics if self._script else lambda: None,
        )

    def _new_script(self) -> Script | None:
        """None for every other recipe."""
        spec, node = self._claim.spec, self._node
        if not isinstance(spec, ScriptSpec):
            return None
        earlier = self._dir.earlier_run_dirs(self._claim.job_id, self._claim.attempt)
        facts = ScriptNode.of(node, self._dir, earlier=earlier)
        return Script(self._claim, spec, self._run_dir, facts, report=self._report, exceeded=self._wake.ring)

    def asked_to_leave(self, *_: object) -> None:
        """The handler of SIGTERM."""
        self._is_leaving = True
        self._wake.ring()

    def run(self) -> None:
        """Trains, ships, finishes. Once the lease is lost it writes nothing more and leaves."""
        with closing(self._api), closing(self._uses), self._lease:
            try:
                self._train_and_finish()
            except (LeaseLost, GaveUp):
                log.warning("the attempt belongs to somebody else now", extra={"event": "attempt.fenced"})
            except (ThreadFailed, OSError) as error:
                log.exception("this supervisor failed", extra={"event": "attempt.supervisor_failed"})
                self._admit_failure(error)

    def _train_and_finish(self) -> None:
        with self._dir.announced(self._claim.job_id, self._claim.attempt):
            with self._devices:
                outcome = self._train()
            finish_attempt(
                outcome,
                run_dir=self._run_dir,
                api=self._api,
                patience=self._patience,
                shipper=self._shipper,
                checkpoints=self._checkpoints,
                logs=self._logs,
                lease=self._lease,
            )

    def _admit_failure(self, error: Exception) -> None:
        """Without this the job would wait until the lease runs out."""
        reason = Reason.STORAGE if isinstance(error.__cause__ or error, OSError) else Reason.PROTOCOL
        request = FinishRequest(reason=reason, message=mask(f"the supervisor failed: {error}"))
        try:
            self._patience.keep_trying(lambda: self._api.finish(request))
        except (LeaseLost, GaveUp):
            log.warning("the attempt belongs to somebody else now", extra={"event": "attempt.fenced"})

    def _train(self) -> Outcome:
        """How the ranks ended; nothing of them is left."""
        try:
            RunDir.create(self._run_dir.root)
            resumed_from = self._prepare()
            return self._launch_and_watch(resumed_from)
        except CannotPrepare as error:
            return Outcome(reason=error.reason, message=str(error))
        except OSError as error:
            log.exception("the node failed", extra={"event": "attempt.node_failed"})
            return Outcome(reason=Reason.STORAGE, message=f"this node could not read or write: {error}")
        finally:
            if self._script:
                self._script.leave()  # also when it never started, or the lease was lost

    def _prepare(self) -> int | None:
        """Puts everything on the node that the ranks need; the step that they go on from."""
        claim = self._claim
        materialiser = Materialiser(self._dir.cache, self._node.data_roots, self._downloader, self._check_before_launch, uses=self._uses)
        channels = materialiser.channels(claim.spec, claim.datasets)
        base = materialiser.base_model(claim.spec, claim.base_model)
        point = self._resume_point()
        run_file = RunFile(
            job_id=claim.job_id,
            attempt=claim.attempt,
            spec=claim.spec,
            device=self._node.device_kind,
            data_dir=_text(channels.get(MAIN_CHANNEL)),
            channel_dirs={channel: str(path) for channel, path in channels.items()},
            base_model_dir=_text(base),
            resume_from=_text(point.folder if point else None),
            cache_dir=str(self._dir.prepared),
        )
        # Not made durable: should the node fail, nobody reads this file again.
        write_atomically(self._run_dir.spec, run_file, durable=False)
        if self._script:
            self._script.prepare(materialiser, channels, point)
        return point.step if point else None

    def _resume_point(self) -> ResumePoint | None:
        return choose_checkpoint(
            local=self._dir.earlier_run_dirs(self._claim.job_id, self._claim.attempt),
            stored=self._claim.checkpoints,
            downloads=self._run_dir.root / "resume",
            downloader=self._downloader,
            report=self._report,
        )

    def _report(self, kind: str, message: str) -> None:
        self._patience.keep_trying(lambda: self._api.add_event(kind, mask(message)))

    def _launch_and_watch(self, resumed_from: int | None) -> Outcome:
        self._check_before_launch()
        # A script has an environment of its own: what the pad has imported would be another's.
        is_warm = self._node.is_warm and self._script is None
        plan = self._script.plan() if self._script else self._plan()
        oom_kills = count_oom_kills()
        with Launcher(self._dir.pad_socket if is_warm else None).start(plan, self._devices.fd) as tree:
            try:
                self._shipper.start(StartRequest(resumed_from_step=resumed_from, launched=tree.launched, pid=os.getpid()))
                self._checkpoints.start()
                verdict = self._watch(tree)
            finally:
                end(tree)
        evidence, num_kills = read_evidence(self._run_dir), count_oom_kills() - oom_kills
        outcome = overruled(classify(evidence, verdict.returncode, num_oom_kills=num_kills, owes_result=self._script is None), verdict)
        return self._script.conclude(outcome) if self._script else outcome

    def _plan(self) -> LaunchPlan:
        return plan_launch(
            self._run_dir,
            attempt_id=self._claim.attempt_id,
            spec=self._claim.spec,
            devices=self._claim.devices,
            device_kind=self._node.device_kind,
            shutdown_timeout=timedelta(seconds=self._node.stop_grace_seconds),
            environ=self._node.environ,
        )

    def _watch(self, tree: Tree) -> Verdict:
        node, spec = self._node, self._claim.spec
        # A script need not tell how far it is: it hangs when its spec says so.
        patience = (
            (node.stall_seconds, node.prepare_stall_seconds) if self._script is None else (math.inf, spec.stall_timeout_seconds or math.inf)
        )
        stall = StallLimits(training=patience[0], other_phases=patience[1], asked=spec.stall_timeout_seconds)
        limits = Limits(
            stop_grace=node.stop_grace_seconds,
            stall=stall,
            time_left=self._claim.seconds_left,
            overrun=self._script.overrun if self._script else lambda: None,
        )
        watch = Watch(tree, self._run_dir, self._lease, limits, wake=self._wake, check=self._check, wants_to_leave=lambda: self._is_leaving)
        return watch.until_gone()

    def _check(self) -> None:
        """Raises what ends the attempt at once: the lease is lost, or one of our threads has failed."""
        self._lease.check()
        self._shipper.check()
        self._checkpoints.check()

    def _check_before_launch(self) -> None:
        """While there are no ranks yet, a control word is obeyed by not starting any."""
        self._lease.check()
        in_doubt = self._is_leaving or time.monotonic() >= self._lease.in_doubt_at
        reason = obeyed_reason(self._lease.control) or (Reason.DRAINED if in_doubt else None)
        if reason is not None:
            raise CannotPrepare(reason, "asked to stop before the ranks were started")


def end(tree: Tree) -> None:
    """Kills what is left of the tree, if anything is, and sees it go."""
    tree.kill()
    if tree.wait_gone(KILL_SECONDS) is None:
        log.error("processes of the attempt cannot be killed", extra={"event": "tree.survives", "agent_pid": tree.agent_pid})


def overruled(outcome: Outcome, verdict: Verdict) -> Outcome:
    """What we did to the run explains its end better than what it left behind, unless it has completed all the same."""
    if verdict.reason is None or outcome.reason is Reason.COMPLETED:
        return outcome
    return Outcome(reason=verdict.reason, message=verdict.message, log_tail=outcome.log_tail)


def count_oom_kills() -> int:
    """How many processes of this node's memory group the kernel has killed so far; 0 where it does not tell."""
    for path in (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control")):
        try:
            return num_oom_kills(path.read_text())
        except OSError:
            continue
    return 0


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
