"""The training loop. One step: forward, backward, agree, update; then evaluate, checkpoint or stop where the ranks agreed to."""

import math
import time
from dataclasses import dataclass

import torch

from core.run_dir import StopFile, read_model
from core.states import Phase
from trainer.checkpoint import Checkpointer
from trainer.data.feed import Feed
from trainer.errors import LossNotFinite
from trainer.evaluation import evaluate, is_due, patience_has_run_out
from trainer.gauges import Gauges
from trainer.parallel import clip_gradient, gradient_norm
from trainer.plan import Plan, tell_position
from trainer.regularise.penalties import add_penalties
from trainer.schedule import rate
from trainer.state import Learner, Run, State
from trainer.step import Passes, run_passes
from trainer.tasks.task import Task

CANCEL = "cancel"


@dataclass(slots=True)
class Pace:
    """When this process last logged and last checkpointed, in seconds of the monotonic clock, and what it did since."""

    saved_at: float
    logged_at: float
    has_logged: bool = False
    num_units: float = 0.0


@dataclass(frozen=True, slots=True)
class Agreed:
    """What all ranks know after the one small all-reduce of a step."""

    loss: float
    accuracy: float | None
    num_units: float
    must_save: bool
    must_stop: bool


@dataclass(frozen=True, slots=True)
class Training:
    """What the steps of one run have in common."""

    run: Run
    task: Task
    learner: Learner
    plan: Plan
    feed: Feed
    checkpoints: Checkpointer
    gauges: Gauges


def train(training: Training, state: State) -> bool:
    """Trains to the end, which is True, or until the ranks agree to stop, which is False. Leaves a checkpoint either way."""
    run, task, plan = training.run, training.task, training.plan
    now = time.monotonic()
    pace = Pace(saved_at=now, logged_at=now)
    tell_position(run, plan, state, Phase.TRAINING)
    while not state.is_finished:
        if task.evaluation is not None and is_due(task.evaluation, plan, state):
            score = evaluate(run, task, training.learner, state, plan)
            state.is_finished = patience_has_run_out(task.evaluation, score, state)
        if state.step_in_epoch == plan.steps_per_epoch:
            state.epoch, state.step_in_epoch = state.epoch + 1, 0
        if state.is_finished or state.step == plan.num_steps:
            state.is_finished = True
            continue
        agreed = train_step(training, state, pace)
        if agreed.must_stop:
            return stop(training, state)
        if agreed.must_save:
            save(training, state)
            pace.saved_at = time.monotonic()
    if not run.ranks.all_agree(not run.stop.asked):
        return stop(training, state)
    save(training, state, wait=True)
    return True


def train_step(training: Training, state: State, pace: Pace) -> Agreed:
    """One optimiser step; ``state`` has moved past it afterwards. Raises LossNotFinite on every rank, before the update."""
    started = time.monotonic()
    run, task, learner, plan = training.run, training.task, training.learner, training.plan
    now_rate = rate(task.knobs, state.step, num_steps=plan.num_steps, steps_per_epoch=plan.steps_per_epoch, peak=plan.peak_rate)
    for group in learner.optimizer.param_groups:
        group["lr"] = now_rate * group.get("rate_share", 1.0)
    with training.gauges.waiting_for_data():
        batches = training.feed.next(state)
    learner.optimizer.zero_grad(set_to_none=True)
    passes = run_passes(run, task, learner, batches)
    if learner.scaler is not None:
        learner.scaler.unscale_(learner.optimizer)
    add_penalties(learner.model, task.knobs)
    norm = gradient_norm(learner.model)
    agreed = agree(training, passes, norm, state, pace)
    if task.knobs.gradient_clip is not None:
        clip_gradient(learner.model, task.knobs.gradient_clip, norm)
    update(learner, state, plan)
    state.step += 1
    state.step_in_epoch += 1
    state.seconds += time.monotonic() - started
    pace.num_units += agreed.num_units
    if state.step % task.knobs.log_every_steps == 0 or not pace.has_logged:
        log_step(training, agreed, state, pace, {"learning_rate": now_rate, "gradient_norm": float(norm)})
    run.report.progress(step=state.step, epoch=state.epoch)
    return agreed


def update(learner: Learner, state: State, plan: Plan) -> None:
    if learner.scaler is not None:
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
    else:
        learner.optimizer.step()
    if learner.average is not None:
        learner.average.update(learner.model, step=state.step, num_steps=plan.num_steps)


def agree(training: Training, passes: Passes, norm: torch.Tensor, state: State, pace: Pace) -> Agreed:
    """Shares this rank's numbers, its wish to stop, its checkpoint's failure and rank 0's clock: one small all-reduce."""
    run, learner = training.run, training.learner
    # With fp16 an infinite gradient is an event that the scaler answers with a smaller scale.
    is_finite = math.isfinite(passes.loss) and (learner.scaler is not None or math.isfinite(norm.item()))
    num_correct = -1.0 if passes.num_correct is None else passes.num_correct
    mine = [passes.loss if is_finite else 0.0, num_correct, passes.weight, float(passes.num_units)]
    flags = [not is_finite, run.ranks.is_first and save_is_due(training, state, pace), run.stop.asked, training.checkpoints.has_failed]
    total_loss, correct, total, num_units, num_broken, must_save, must_stop, num_failed = run.ranks.sum([*mine, *map(float, flags)])
    if num_broken:
        training.checkpoints.finish()  # what was good until here is kept
        where = f"at step {state.step + 1} (loss {passes.loss / max(passes.weight, 1)} on rank {run.ranks.rank})"
        raise LossNotFinite(f"the loss or its gradient was NaN or infinite {where}")
    if num_failed:
        training.checkpoints.raise_failure()
    return Agreed(
        loss=total_loss / max(total, 1.0),
        accuracy=correct / max(total, 1.0) if correct >= 0 else None,
        num_units=num_units,
        must_save=bool(must_save),
        must_stop=bool(must_stop),
    )


def save_is_due(training: Training, state: State, pace: Pace) -> bool:
    """Asked before the step is counted, so that all ranks learn it together."""
    every = training.run.file.spec.checkpoints
    by_steps = every.every_steps is not None and (state.step + 1) % every.every_steps == 0
    return by_steps or time.monotonic() - pace.saved_at >= every.every_seconds


def save(training: Training, state: State, *, wait: bool = False) -> None:
    state.next_metric_seq = training.run.report.log.next_seq
    training.gauges.checkpoint_stall_seconds = training.checkpoints.save(training.learner, state, wait=wait)


def stop(training: Training, state: State) -> bool:
    """Leaves a checkpoint unless the job is cancelled. ``stop.json`` was written before the signal came; rank 0 reads it for all."""
    run = training.run
    asked = read_model(run.dir.stop, StopFile) if run.ranks.is_first else None
    if run.ranks.all_agree(asked is None or asked.reason != CANCEL):
        save(training, state, wait=True)
    return False


def log_step(training: Training, agreed: Agreed, state: State, pace: Pace, more: dict[str, float]) -> None:
    now = time.monotonic()
    per_second = pace.num_units / max(now - pace.logged_at, 1e-9)
    values = {"loss": agreed.loss, **more, f"{training.task.unit}_per_second": per_second, **training.gauges.read(per_second)}
    if agreed.accuracy is not None:
        values["accuracy"] = agreed.accuracy
    training.run.report.points(state.step, values)
    pace.logged_at, pace.num_units, pace.has_logged = now, 0.0, True
