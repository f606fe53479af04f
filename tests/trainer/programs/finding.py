"""A small task, and what is asked of it on some ranks: rates, batch sizes, every optimiser and every adversary, sharded or not."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core.recipes.sections.training import Adversarial, OptimizerName, TrainingKnobs
from tests.trainer.programs.learning import Stack, run_of
from trainer.batch_finder import find_batch_size
from trainer.optim import new_optimizer
from trainer.parallel import Ranks, full_weights, no_sync, wrap
from trainer.range_test import find_rate
from trainer.regularise.adversarial import second_loss
from trainer.state import Run, Score, State
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Split, Task, Tested

OPTIMIZERS: tuple[OptimizerName, ...] = ("sgd", "adam", "adamw", "adafactor", "lion", "muon")
NUM_ROWS = 160


class Points(Task):
    """Numbers in the plane and a curved function of them."""

    evaluation = None
    seed = 11

    def __init__(self, knobs: TrainingKnobs, *, memory: int = 0) -> None:
        self.knobs, self.num_train_rows, self.memory = knobs, NUM_ROWS, memory
        self.x = torch.randn(NUM_ROWS, 5, generator=torch.Generator().manual_seed(0))

    def architecture(self) -> dict[str, Any]:
        return {}

    def build_model(self) -> nn.Module:
        torch.manual_seed(2)
        return Stack()

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        return {"x": self.x[torch.from_numpy(rows)]}

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        if self.memory and len(batch["x"]) > self.memory:
            raise torch.OutOfMemoryError("as a GPU would say it")
        target = batch["x"].sum(dim=1, keepdim=True).sin()
        return Outcome(loss=functional.mse_loss(model(batch["x"]).float(), target), weight=len(target))

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        raise NotImplementedError

    def test(self, model: nn.Module) -> Tested:
        raise NotImplementedError

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        raise NotImplementedError


def everything(ranks: Ranks, folder: str) -> dict[str, Any]:
    run = run_of(ranks, folder)
    strategies: tuple[str, ...] = ("ddp", "fsdp")
    return {
        "found": {strategy: found(run, strategy) for strategy in strategies},
        "looked": {strategy: learned(run, strategy, "adamw", looks_before=True) for strategy in strategies},
        "learned": {f"{strategy} {name}": learned(run, strategy, name) for strategy in strategies for name in OPTIMIZERS},
        "attacked": {f"{strategy} {method}": attacked(run, strategy, method) for strategy in strategies for method in ("fgsm", "pgd")},
    }


def found(run: Run, strategy: str) -> list[float]:
    task = Points(TrainingKnobs.model_validate({"batch_size": 32, "accumulate": 2, "strategy": strategy}))
    model = task.build_model()
    wrap(run, task.knobs, model)
    return [find_rate(task, model, run.ranks, num_steps=30), find_batch_size(task, model, run.ranks)]


def learned(run: Run, strategy: str, name: OptimizerName, *, looks_before: bool = False) -> dict[str, float]:
    """The sum over each weight after a few steps with one of the optimisers, maybe after a look at what rate and size are good."""
    task = Points(TrainingKnobs.model_validate({"optimizer": name, "learning_rate": 0.01, "strategy": strategy}))
    model = task.build_model()
    wrapped = wrap(run, task.knobs, model)
    optimizer = new_optimizer(model, task.knobs)
    if looks_before:
        find_batch_size(task, model, run.ranks)
        find_rate(task, model, run.ranks, num_steps=5)
    for step in range(4):
        optimizer.zero_grad()
        task.loss(wrapped, own_share(run, task, step)).loss.backward()
        optimizer.step()
    return sums(model)


def attacked(run: Run, strategy: str, method: str) -> dict[str, float]:
    """The same under attack, each clean pass followed by another; the first of two micro-batches does not wait for other ranks.

    What random start PGD had is forgotten after enough steps, so that ranks may draw differently.
    """
    task = Points(TrainingKnobs.model_validate({"learning_rate": 0.01, "strategy": strategy}))
    model = task.build_model()
    wrapped = wrap(run, task.knobs, model)
    optimizer = new_optimizer(model, task.knobs)
    knobs = Adversarial.model_validate({"method": method, "epsilon": 0.01, "steps": 12})
    for step in range(3):
        optimizer.zero_grad()
        for last in (False, True):
            batch = own_share(run, task, 2 * step + last)
            with no_sync(wrapped, last=last):
                task.loss(wrapped, batch).loss.backward()
                with second_loss(lambda moved: task.loss(wrapped, moved), model, batch, "x", knobs) as loss:
                    loss.backward()
        optimizer.step()
    return sums(model)


def own_share(run: Run, task: Points, step: int) -> Batch:
    share = 16 // run.ranks.data_world
    first = 16 * step + run.ranks.data_rank * share
    return {"x": task.x[first : first + share]}


def sums(model: nn.Module) -> dict[str, float]:
    return {name: tensor.double().sum().item() for name, tensor in full_weights(model).items()}
