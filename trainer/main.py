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

from pydantic import ValidationError
from torch.distributed.elastic.multiprocessing.errors import record

from core.manifest import sha256_of
from core.run_dir import ResultFile, RunDir, RunFile, read_model, write_atomically
from core.states import Phase
from trainer import checkpoint
from trainer.base_model import WEIGHTS, start_from
from trainer.determinism import mix, seed_everything, settle
from trainer.errors import BadRunFile, PeerLost, StorageFailed
from trainer.loop import train
from trainer.metrics import Reporter
from trainer.parallel import COLLECTIVE_TIMEOUT, is_peer_loss, join_ranks, leave
from trainer.state import Learner, Run, State
from trainer.stop import StopFlag, die_of_sigterm, listen_for_stop
from trainer.tasks import new_task
from trainer.tasks.task import Task
from trainer.tensor_files import write_tensors

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
    settle(threads=spec.training.threads_per_rank, deterministic=spec.deterministic)
    patience = max(COLLECTIVE_TIMEOUT, timedelta(seconds=2 * (spec.stall_timeout_seconds or 0)))
    ranks = join_ranks(run_file.device, patience=patience)
    run = Run(file=run_file, dir=run_dir, ranks=ranks, stop=stop, report=Reporter(run_dir, speaks=ranks.is_first))
    run.report.progress(phase=Phase.PREPARING)
    task = new_task(run)
    learner = new_learner(run, task)
    state = checkpoint.load(run, learner, Path(run_file.resume_from)) if run_file.resume_from else State()
    run.report.log.next_seq = state.next_metric_seq
    run.report.line(f"{spec.recipe} on {ranks.world_size} {run_file.device} rank(s), from step {state.step}")
    if not train(run, task, learner, state):
        run.report.line(f"stopped at step {state.step}, as asked")
        end(run, ResultFile(outcome="stopped", step=state.step))
        return STOPPED
    result = finish(run, task, learner, state)
    end(run, result if task.leaves_result else None)
    return 0


def read_run_file(run_dir: RunDir) -> RunFile:
    try:
        run_file = read_model(run_dir.spec, RunFile)
    except (ValidationError, OSError) as error:
        raise BadRunFile(f"{run_dir.spec} cannot be understood: {error}") from error
    if run_file is None:
        raise BadRunFile(f"{run_dir.spec} is missing")
    return run_file


def new_learner(run: Run, task: Task) -> Learner:
    """Seeds alike on all ranks for the weights, and apart for what each rank draws while it trains."""
    spec = run.file.spec
    seed_everything(mix(spec.seed))
    model = task.build_model()
    if run.file.base_model_dir is not None:
        start_from(model, Path(run.file.base_model_dir))
    model = model.to(run.ranks.device)
    optimizer = task.build_optimizer(model)
    wrapped = run.ranks.wrap(model, deterministic=spec.deterministic)
    seed_everything(mix(spec.seed, 1 + run.ranks.rank))
    return Learner(model=model, wrapped=wrapped, optimizer=optimizer)


def finish(run: Run, task: Task, learner: Learner, state: State) -> ResultFile:
    """Tests the final weights on all ranks, then rank 0 packages what a user downloads."""
    if learner.best_weights is not None:
        learner.model.load_state_dict(learner.best_weights)
    learner.model.eval()
    run.report.progress(phase=Phase.EVALUATING)
    metrics = task.test(learner.model)
    run.report.points(state.step, metrics)
    run.report.scores("the model to be packaged", metrics)
    run.report.progress(phase=Phase.PACKAGING)
    digest = package(run, task, learner, state, metrics) if run.ranks.is_first else None
    return ResultFile(outcome="succeeded", step=state.step, metrics=metrics, weights_sha256=digest)


def package(run: Run, task: Task, learner: Learner, state: State, metrics: dict[str, float]) -> str:
    """The SHA-256 of the packaged weights."""
    weights = run.dir.artifacts / WEIGHTS
    try:
        weights.parent.mkdir(mode=0o700, exist_ok=True)
        write_tensors(weights, learner.weights())
        task.package(run, learner, state, metrics)
        return sha256_of(weights)
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
