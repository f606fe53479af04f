"""The engine's own loop on a small task that remembers which rows it was asked for, stopped at a step and resumed."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core.recipes.sections.training import TrainingKnobs
from core.run_dir import ProgressFile, read_model
from tests.trainer.programs.learning import Stack, run_of
from trainer.checkpoint import Checkpointer
from trainer.data.feed import Feed
from trainer.determinism import generator
from trainer.errors import StorageFailed
from trainer.gauges import Gauges
from trainer.learner import new_learner
from trainer.loop import Training, train
from trainer.parallel import Ranks, full_weights
from trainer.plan import plan_run
from trainer.state import Run, Score, State
from trainer.tasks.task import Batch, Draw, EvaluationPlan, Outcome, Rows, Split, Task, Tested

NUM_ROWS, BATCH = 60, 12  # five steps an epoch


class Remembering(Task):
    """A regression of made-up rows. ``norms`` gives it what each rank has for its own: batch norm and dropout."""

    seed_number = 5

    def __init__(self, run: Run, knobs: TrainingKnobs, *, stop_after: int | None, norms: bool) -> None:
        self.run, self.knobs, self.stop_after, self.norms = run, knobs, stop_after, norms
        self.num_train_rows, self.num_batches = NUM_ROWS, 0
        self.asked: list[list[int]] = []
        self.evaluation = EvaluationPlan(metric="loss", higher_is_better=False, every_steps=4)

    @property
    def seed(self) -> int:
        return self.seed_number

    def architecture(self) -> dict[str, Any]:
        return {}

    def build_model(self) -> nn.Module:
        model = Stack()
        if self.norms:
            model.blocks.append(nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.3)))
        return model

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        self.asked.append([draw.epoch, draw.step, *rows.tolist()])
        self.num_batches += 1
        if self.num_batches == self.stop_after:
            self.run.stop.asked = True
        inputs = torch.stack([torch.randn(5, generator=generator(self.seed, int(row))) for row in rows])
        return {"inputs": inputs, "targets": inputs.sum(dim=1, keepdim=True).sin()}

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        return Outcome(loss=functional.mse_loss(model(batch["inputs"]), batch["targets"]), weight=len(batch["inputs"]))

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        inputs = torch.randn(20, 5, generator=generator(99))
        return Score(metrics={"loss": functional.mse_loss(model(inputs), inputs.sum(dim=1, keepdim=True).sin()).item()}, num_rows=20)

    def test(self, model: nn.Module) -> Tested:
        return Tested(self.evaluate(model, "test"))

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None: ...


def learn(
    ranks: Ranks, folder: str, resume_from: str | None = None, stop_after: int | None = None, norms: bool = False, **knobs: Any
) -> dict[str, Any]:
    """Up to the end of two epochs or until ``stop_after`` steps. Answers rows, losses, and this rank's view of what it leaves."""
    run = run_of(ranks, folder)
    training_knobs = TrainingKnobs(epochs=2, batch_size=BATCH, learning_rate=0.01, **knobs)
    task = Remembering(run, training_knobs, stop_after=stop_after, norms=norms)
    learner = new_learner(run, task)
    checkpoints = Checkpointer(run)
    state = checkpoints.load(learner, Path(resume_from)) if resume_from else State()
    plan = plan_run(run, task, learner.model, state)
    feed, gauges = Feed(run, task, plan), Gauges(run, task)
    train(Training(run=run, task=task, learner=learner, plan=plan, feed=feed, checkpoints=checkpoints, gauges=gauges), state)
    weights = {name: tensor.tolist() for name, tensor in full_weights(learner.model).items()}  # before the best are put in their place
    best = replace_weights(learner.model, learner.best_weights)
    return {
        "asked": task.asked,
        "step": state.step,
        "weights": weights,
        "best": best,
        "average": None if learner.average is None else learner.average.num_updates,
        "random": torch.rand(3).tolist(),
        "checkpoint": str(run.dir.complete_checkpoints()[0]),
    }


def replace_weights(model: nn.Module, weights: dict[str, torch.Tensor] | None) -> dict[str, Any]:
    """The best weights, whole."""
    if weights is None:
        return {}
    model.load_state_dict(weights)
    return {name: tensor.tolist() for name, tensor in full_weights(model).items()}


def fail_to_write(ranks: Ranks, folder: str) -> dict[str, Any]:
    """The first rank's disk refuses the second checkpoint, which nobody waits for; then all agree about it, as a step does."""
    run = run_of(ranks, folder)
    knobs = TrainingKnobs(strategy="ddp")
    learner = new_learner(run, Remembering(run, knobs, stop_after=None, norms=False))
    checkpoints = Checkpointer(run)
    checkpoints.save(learner, State(step=1), wait=True)
    if ranks.is_first:
        (run.dir.checkpoints / ".tmp-step-000000000002-1").write_text("in the way")
    ranks.sum([0.0])
    checkpoints.save(learner, State(step=2))
    while not ranks.sum([float(checkpoints.has_failed)])[0]:
        pass
    try:
        checkpoints.raise_failure()
    except StorageFailed as error:
        return {"said": str(error), "left": [path.name for path in run.dir.complete_checkpoints()]}
    return {}


def save_twice(ranks: Ranks, folder: str) -> dict[str, Any]:
    """Weights change right after a save; the step of a checkpoint that is complete is told."""
    run = run_of(ranks, folder)
    task = Remembering(run, TrainingKnobs(strategy="ddp", batch_size=BATCH), stop_after=None, norms=True)
    learner = new_learner(run, task)
    checkpoints = Checkpointer(run)
    saved = {name: tensor.tolist() for name, tensor in learner.weights().items()}
    stall = checkpoints.save(learner, State(step=1))
    for parameter in learner.model.parameters():
        parameter.data.fill_(7.0)
    checkpoints.finish()
    again = checkpoints.save(learner, State(step=1), wait=True)
    checkpoints.load(learner, run.dir.checkpoint(1))
    told = read_model(run.dir.progress, ProgressFile)
    return {
        "saved": saved,
        "loaded": {name: tensor.tolist() for name, tensor in learner.weights().items()},
        "stalls": [stall, again],
        "told": told.checkpoint_step if told else None,
    }
