"""The training loop. One step: forward, backward, agree, update; then checkpoint or stop where the ranks agreed to."""

import math
import time
from dataclasses import dataclass

import torch

from core.run_dir import StopFile, read_model
from core.states import Phase
from trainer import checkpoint
from trainer.errors import LossNotFinite
from trainer.state import Best, Learner, Run, Score, State
from trainer.tasks.task import BatchOutcome, Task

CANCEL = "cancel"


@dataclass(slots=True)
class Pace:
    """When this process last logged and last checkpointed, in seconds of the monotonic clock."""

    saved_at: float
    logged_at: float
    logged_step: int
    has_logged: bool = False


@dataclass(frozen=True, slots=True)
class Agreed:
    """What all ranks know after the one small all-reduce of a step."""

    loss: float
    accuracy: float | None
    num_samples: int
    must_save: bool
    must_stop: bool


def train(run: Run, task: Task, learner: Learner, state: State) -> bool:
    """Trains to the end, which is True, or until the ranks agree to stop, which is False. Leaves a checkpoint either way."""
    now = time.monotonic()
    pace = Pace(saved_at=now, logged_at=now, logged_step=state.step)
    tell_position(run, task, state, Phase.TRAINING)
    while not state.is_finished:
        while state.step_in_epoch < task.steps_per_epoch:
            agreed = train_step(run, task, learner, state, pace)
            if agreed.must_stop:
                return stop(run, learner, state)
            if agreed.must_save:
                save(run, learner, state)
                pace.saved_at = time.monotonic()
        finish_epoch(run, task, learner, state)
    if someone_asked_to_stop(run):
        return stop(run, learner, state)
    save(run, learner, state)
    return True


def train_step(run: Run, task: Task, learner: Learner, state: State, pace: Pace) -> Agreed:
    """One optimiser step; ``state`` has moved past it afterwards. Raises LossNotFinite on every rank, before the update."""
    started = time.monotonic()
    rate = task.learning_rate(state.step)
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    learner.optimizer.zero_grad(set_to_none=True)
    outcome = task.forward(learner.wrapped, state)
    outcome.loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.get_total_norm([p.grad for p in learner.model.parameters() if p.grad is not None])
    agreed = agree(run, outcome, norm, state, pace)
    if task.gradient_clip is not None:
        torch.nn.utils.clip_grads_with_norm_(learner.model.parameters(), task.gradient_clip, norm)
    learner.optimizer.step()
    state.step += 1
    state.step_in_epoch += 1
    state.seconds += time.monotonic() - started
    if state.step % task.log_every_steps == 0 or not pace.has_logged:
        log_step(run, agreed, state, pace, {"learning_rate": rate, "gradient_norm": float(norm)})
    run.report.progress(step=state.step, epoch=state.epoch)
    return agreed


def agree(run: Run, outcome: BatchOutcome, norm: torch.Tensor, state: State, pace: Pace) -> Agreed:
    """Shares this rank's numbers, its wish to stop and rank 0's clock: one all-reduce of six numbers."""
    loss, num_correct = outcome.loss.item(), -1.0 if outcome.num_correct is None else outcome.num_correct.item()
    is_finite = math.isfinite(loss) and math.isfinite(norm.item())
    mine = [loss * outcome.num_samples if is_finite else 0.0, num_correct, outcome.num_samples]
    flags = [not is_finite, run.ranks.is_first and save_is_due(run, state, pace), run.stop.asked]
    total_loss, total_correct, total, num_broken, must_save, must_stop = run.ranks.sum([*mine, *map(float, flags)])
    if num_broken:
        raise LossNotFinite(f"the loss or its gradient was NaN or infinite at step {state.step + 1} (loss {loss} on rank {run.ranks.rank})")
    return Agreed(
        loss=total_loss / total,
        accuracy=total_correct / total if total_correct >= 0 else None,
        num_samples=int(total),
        must_save=bool(must_save),
        must_stop=bool(must_stop),
    )


def save_is_due(run: Run, state: State, pace: Pace) -> bool:
    """Asked before the step is counted, so that all ranks learn it together."""
    every = run.file.spec.checkpoints
    by_steps = every.every_steps is not None and (state.step + 1) % every.every_steps == 0
    return by_steps or time.monotonic() - pace.saved_at >= every.every_seconds


def save(run: Run, learner: Learner, state: State) -> None:
    state.next_metric_seq = run.report.log.next_seq
    checkpoint.save(run, learner, state)


def stop(run: Run, learner: Learner, state: State) -> bool:
    """Leaves a checkpoint unless the job is cancelled. ``stop.json`` was written before the signal came; rank 0 reads it for all."""
    asked = read_model(run.dir.stop, StopFile) if run.ranks.is_first else None
    if run.ranks.all_agree(asked is None or asked.reason != CANCEL):
        save(run, learner, state)
    return False


def someone_asked_to_stop(run: Run) -> bool:
    return not run.ranks.all_agree(not run.stop.asked)


def finish_epoch(run: Run, task: Task, learner: Learner, state: State) -> None:
    """Evaluates when due, then moves on to the next epoch, or to the end."""
    is_last = task.num_epochs is not None and state.epoch + 1 >= task.num_epochs
    plan = task.evaluation
    if plan is not None and (is_last or (state.epoch + 1) % plan.every_epochs == 0):
        score = evaluate(run, task, learner, state)
        is_last = judge(score, learner, state, patience=plan.patience, min_delta=plan.min_delta) or is_last
    state.epoch, state.step_in_epoch, state.is_finished = state.epoch + 1, 0, is_last


def evaluate(run: Run, task: Task, learner: Learner, state: State) -> Score:
    tell_position(run, task, state, Phase.EVALUATING)
    run.ranks.average_buffers(learner.model)
    learner.model.eval()
    score = task.evaluate(learner.model, "validation")
    learner.model.train()
    run.report.points(state.step, score.named("validation"))
    run.report.scores(f"epoch {state.epoch + 1}, step {state.step}", score.named("validation"))
    tell_position(run, task, state, Phase.TRAINING)
    return score


def judge(score: Score, learner: Learner, state: State, *, patience: int | None, min_delta: float) -> bool:
    """Keeps the weights when they are the best so far (by accuracy, then by loss); True when patience has run out."""
    if state.best is None or (score.accuracy, -score.loss) > (state.best.score.accuracy, -state.best.score.loss):
        state.best = Best(step=state.step, epoch=state.epoch, score=score)
        learner.best_weights = {name: tensor.detach().clone() for name, tensor in learner.weights().items()}
    if state.accuracy_to_beat is None or score.accuracy > state.accuracy_to_beat + min_delta:
        state.accuracy_to_beat, state.num_stale_evaluations = score.accuracy, 0
    else:
        state.num_stale_evaluations += 1
    return patience is not None and state.num_stale_evaluations >= patience


def log_step(run: Run, agreed: Agreed, state: State, pace: Pace, more: dict[str, float]) -> None:
    now = time.monotonic()
    num_samples = agreed.num_samples * (state.step - pace.logged_step)
    values = {"loss": agreed.loss, **more, "samples_per_second": num_samples / max(now - pace.logged_at, 1e-9)}
    if agreed.accuracy is not None:
        values["accuracy"] = agreed.accuracy
    run.report.points(state.step, values)
    pace.logged_at, pace.logged_step, pace.has_logged = now, state.step, True


def tell_position(run: Run, task: Task, state: State, phase: Phase) -> None:
    num_steps = None if task.num_epochs is None else task.num_epochs * task.steps_per_epoch
    run.report.progress(phase=phase, step=state.step, total_steps=num_steps, epoch=state.epoch, total_epochs=task.num_epochs)
