"""The engine's own loop on a small task that remembers which rows it was asked for, stopped at a step and resumed."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core.recipes.sections.training import TrainingKnobs
from tests.trainer.programs.learning import Stack, run_of
from trainer.checkpoint import Checkpointer
from trainer.data.feed import Feed
from trainer.determinism import generator
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
    weights = full_weights(learner.model)
    best = replace_weights(learner.model, learner.best_weights)
    return {
        "asked": task.asked,
        "step": state.step,
        "weights": {name: tensor.tolist() for name, tensor in weights.items()},
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
