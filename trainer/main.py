"""The story of one rank: ``torchrun ... trainer/main.py RUN_DIR``. Reads ``spec.json``, trains, packages, writes ``result.json`` last.

Under ``torchrun`` each rank runs this file; under a warm agent each rank is a fork that has imported all of it before.
"""

from trainer.lifeline import die_with_parent

if __name__ == "__main__":
    die_with_parent()  # before the imports below: a rank must not outlive its agent while it imports torch either

import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import torch
from pydantic import ValidationError
from torch.distributed.elastic.multiprocessing.errors import record

from core.manifest import sha256_of
from core.run_dir import ResultFile, RunDir, RunFile, read_model, write_atomically
from core.states import Phase
from trainer.checkpoint import Checkpointer
from trainer.data.feed import Feed
from trainer.determinism import settle
from trainer.errors import BadRunFile, PeerLost, StorageFailed
from trainer.gauges import Gauges
from trainer.learner import WEIGHTS, new_learner, plain_model
from trainer.loop import Training
from trainer.memory import train_within_memory
from trainer.metrics import Reporter
from trainer.parallel import COLLECTIVE_TIMEOUT, full_weights, is_peer_loss, join_ranks, leave
from trainer.plan import plan_run
from trainer.precision import autocast
from trainer.state import Learner, Run, State, Tensors
from trainer.stop import StopFlag, die_of_sigterm, listen_for_stop
from trainer.tasks import new_task
from trainer.tasks.task import Task, Tested
from trainer.tensor_files import write_tensors
from trainer.tools import Tool, find_tool

STOPPED = 143  # as if SIGTERM had ended it; a rank that returned would leave its agent waiting when a peer has failed
VICTIM_WAITS_SECONDS = 20.0


def main(root: Path) -> None:
    """Runs this rank to its end. Returns only in a forked rank that succeeded; see ``parallel.leave``."""
    stop = listen_for_stop()
    try:
        code = run_rank(root, stop)
    except Exception:  # why: already recorded; the process group must not be torn down by an unwinding interpreter
        traceback.print_exc()
        code = 1
    leave(code or 0)


@record
def run_rank(root: Path, stop: StopFlag) -> int:
    """The exit code of this rank. What it raises, torchrun reports as the failure of the attempt."""
    try:
        return do_attempt(root, stop)
    except RuntimeError as error:
        if not is_peer_loss(error):
            raise
        be_a_victim(error, stop)


def do_attempt(root: Path, stop: StopFlag) -> int:
    run_dir = RunDir(root)
    run_file = read_run_file(run_dir)
    spec = run_file.spec
    settle(threads=getattr(spec.training, "threads_per_rank", 1), deterministic=spec.deterministic)
    patience = max(COLLECTIVE_TIMEOUT, timedelta(seconds=2 * (spec.stall_timeout_seconds or 0)))
    ranks = join_ranks(run_file.device, patience=patience, tensor_parallel=getattr(spec.training, "tensor_parallel", 1))
    run = Run(file=run_file, dir=run_dir, ranks=ranks, stop=stop, report=Reporter(run_dir, speaks=ranks.is_first))
    run.report.progress(phase=Phase.PREPARING)
    if (tool := find_tool(spec.recipe)) is not None:
        return use(tool, run)
    task = new_task(run)
    learner = new_learner(run, task)
    checkpoints = Checkpointer(run)
    state = checkpoints.load(learner, Path(run_file.resume_from)) if run_file.resume_from else State()
    run.report.log.next_seq = state.next_metric_seq
    run.report.line(f"{spec.recipe} on {ranks.world_size} {run_file.device} rank(s), from step {state.step}")
    plan = plan_run(run, task, learner.model, state)
    feed = Feed(run, task, plan)
    training = Training(run=run, task=task, learner=learner, plan=plan, feed=feed, checkpoints=checkpoints, gauges=Gauges(run, task))
    is_complete = train_within_memory(training, state)
    feed.close()
    if not is_complete:
        run.report.line(f"stopped at step {state.step}, as asked")
        end(run, ResultFile(outcome="stopped", step=state.step))
        return STOPPED
    result = finish(run, task, learner, state)
    end(run, result if task.leaves_result else None)
    return 0


def use(tool: Tool, run: Run) -> int:
    """Does a job that does not train."""
    metrics = tool(run)
    end(run, ResultFile(outcome="stopped", step=0) if metrics is None else ResultFile(outcome="succeeded", step=0, metrics=metrics))
    return STOPPED if metrics is None else 0


def read_run_file(run_dir: RunDir) -> RunFile:
    try:
        run_file = read_model(run_dir.spec, RunFile)
    except (ValidationError, OSError) as error:
        raise BadRunFile(f"{run_dir.spec} cannot be understood: {error}") from error
    if run_file is None:
        raise BadRunFile(f"{run_dir.spec} is missing")
    return run_file


def finish(run: Run, task: Task, learner: Learner, state: State) -> ResultFile:
    """Tests the final weights on all ranks, then rank 0 packages what a user downloads."""
    run.report.progress(phase=Phase.EVALUATING)
    learner.model.eval()
    with learner.evaluated_weights():
        run.ranks.average_buffers(learner.model)  # where no evaluation has done it; every rank tests what rank 0 packages
        if learner.best_weights is not None:
            learner.model.load_state_dict(learner.best_weights)
        with torch.inference_mode(), autocast(run.ranks.device, task.knobs):
            tested = task.test(learner.model)
        # Copies: on a CPU they would be the model's own tensors, which get their unaveraged values back below.
        weights = {name: tensor.clone() for name, tensor in full_weights(learner.model).items()}
    metrics = tested.score.named("test")
    run.report.points(state.step, metrics)
    run.report.scores("the model to be packaged", metrics)
    run.report.progress(phase=Phase.PACKAGING)
    digest = package(run, task, weights, state, tested) if run.ranks.is_first else None
    run.report.points(state.step, run.report.phases.read())
    return ResultFile(outcome="succeeded", step=state.step, metrics=metrics, weights_sha256=digest)


def package(run: Run, task: Task, weights: Tensors, state: State, tested: Tested) -> str:
    """The SHA-256 of the packaged weights."""
    file = run.dir.artifacts / WEIGHTS
    model = plain_model(run, task, weights)
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_tensors(file, model.state_dict())
        task.package(run, model, state, tested)
        return sha256_of(file)
    except OSError as error:
        raise StorageFailed(f"the package could not be written: {error}") from error


def end(run: Run, result: ResultFile | None) -> None:
    """``result.json`` is the last thing that is written; nobody leaves before it is there."""
    if run.ranks.is_first and result is not None:
        write_atomically(run.dir.result, result)
    run.ranks.sum([0.0])


def be_a_victim(error: RuntimeError, stop: StopFlag) -> NoReturn:
    """Another rank ended this one's collective. torchrun will send SIGTERM, and this rank dies of it, visibly not by its own doing.

    An error file or an exit code of its own would claim the failure. Raises PeerLost when nobody comes.
    """
    print(f"lost another rank: {error}", file=sys.stderr, flush=True)
    deadline = time.monotonic() + VICTIM_WAITS_SECONDS
    while not stop.asked:
        if time.monotonic() > deadline:
            raise PeerLost(str(error)) from error
        time.sleep(0.01)
    die_of_sigterm()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
