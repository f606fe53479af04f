"""How long a run is, and what the knobs that were left to the node come to."""

from dataclasses import dataclass

from torch import nn

from core.states import Phase
from trainer.data.batches import num_steps
from trainer.state import Run, State
from trainer.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Plan:
    """How long the run is and how large a step is. ``num_steps`` and ``num_epochs`` None: until it is stopped."""

    batch_size: int
    steps_per_epoch: int
    num_steps: int | None
    num_epochs: int | None
    peak_rate: float


def plan_run(run: Run, task: Task, model: nn.Module, state: State) -> Plan:
    """A collective. What "auto" comes to is found once, before the first step, and remembered in ``state``."""
    settle_batch_size(run, task, model, state)
    settle_rate(run, task, model, state)
    per_epoch = num_steps(task.num_train_rows, state.batch_size)
    total = per_epoch * task.knobs.epochs
    if task.knobs.max_steps is not None:
        total = min(total, task.knobs.max_steps)
    return Plan(
        batch_size=state.batch_size,
        steps_per_epoch=per_epoch,
        num_steps=None if task.endless else total,
        num_epochs=None if task.endless else -(-total // per_epoch),
        peak_rate=state.peak_rate,
    )


def settle_batch_size(run: Run, task: Task, model: nn.Module, state: State) -> None:
    wanted = task.knobs.batch_size
    if wanted != "auto":
        state.batch_size = wanted
    elif not state.batch_size:
        from trainer.batch_finder import find_batch_size  # noqa: PLC0415  # why: most runs look for nothing

        state.batch_size = find_batch_size(task, model, run.ranks)
        run.report.line(f"batch size: {state.batch_size} rows a step fit")


def settle_rate(run: Run, task: Task, model: nn.Module, state: State) -> None:
    wanted = task.knobs.learning_rate
    if wanted != "auto":
        state.peak_rate = wanted
    elif not state.peak_rate:
        from trainer.range_test import find_rate  # noqa: PLC0415  # why: most runs look for nothing

        state.peak_rate = find_rate(task, model, run.ranks, batch_size=state.batch_size)
        run.report.line(f"learning rate: {state.peak_rate:.2e}, found by a range test")


def tell_position(run: Run, plan: Plan, state: State, phase: Phase) -> None:
    run.report.progress(phase=phase, step=state.step, total_steps=plan.num_steps, epoch=state.epoch, total_epochs=plan.num_epochs)
