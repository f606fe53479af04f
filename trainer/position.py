"""Telling where a run is."""

from core.states import Phase
from trainer.plan import Plan
from trainer.state import Run, State


def tell_position(run: Run, plan: Plan, state: State, phase: Phase) -> None:
    run.report.progress(phase=phase, step=state.step, total_steps=plan.num_steps, epoch=state.epoch, total_epochs=plan.num_epochs)
