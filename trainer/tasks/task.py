"""What a recipe brings to the engine. The engine owns steps, agreement, stopping, checkpoints and metrics; a task owns meaning.

A task is made once per rank, before the model. Its constructor reads and checks all data and raises InvalidData with
everything that is wrong. Every method that looks at training data is a pure function of its arguments, so that a resumed
run sees the same: there is no iterator to lose.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Optimizer

from core.recipes.sections.directions import LOWER_IS_BETTER
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.training import TrainingKnobs
from trainer.data.batches import order_of_epoch
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.losses import IGNORED as IGNORED
from trainer.models import build
from trainer.optim import new_optimizer
from trainer.parallel import Ranks
from trainer.state import Run, Score, State

Split = Literal["train", "validation", "test"]
Batch = dict[str, torch.Tensor]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """``metric`` is a key of ``Score.metrics`` without the split: the number that decides which weights are kept."""

    metric: str
    higher_is_better: bool = True
    every_epochs: int = 1
    every_steps: int | None = None
    patience: int | None = None
    min_delta: float = 0.0


def dataset_of(run: Run) -> Path:
    """Where the job's data lies."""
    if run.file.data_dir is None:
        raise InvalidData(["this recipe needs a dataset, and spec.json names no folder of one"])
    return Path(run.file.data_dir)


def plan_evaluation(knobs: EvaluationKnobs, *, metric: str) -> EvaluationPlan:
    """``metric`` is the recipe's own choice, where the spec names none."""
    chosen = knobs.metric or metric
    return EvaluationPlan(
        metric=chosen,
        higher_is_better=chosen not in LOWER_IS_BETTER,
        every_epochs=knobs.every_epochs,
        every_steps=knobs.every_steps,
        patience=knobs.patience,
        min_delta=knobs.min_delta,
    )


@dataclass(frozen=True, slots=True)
class Draw:
    """The place of a micro-batch in the run. It alone decides what augmentation, masking or negative sampling draw for it."""

    seed: int
    epoch: int
    step: int  # in the epoch
    part: int  # which of the step's shares, over all ranks and micro-batches

    def generator(self, stream: int) -> torch.Generator:
        """A CPU generator for one purpose; ``stream`` keeps purposes apart."""
        return generator(self.seed, stream, self.epoch, self.step, self.part)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One micro-batch: the mean loss over ``weight`` items (rows, or the tokens that count), and how many of them were right.

    ``logits`` (items, classes) are what R-Drop compares between two passes; None where a recipe does not offer it.
    """

    loss: torch.Tensor
    weight: float
    num_correct: torch.Tensor | None = None
    logits: torch.Tensor | None = None


@dataclass(slots=True)
class Tested:
    """The final weights on the test split. ``predictions`` are columns of predictions.csv, one entry per test row, on rank 0."""

    score: Score
    predictions: dict[str, list[Any]] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)  # what else metrics.json holds: confusion matrix, per class, samples


class Task(ABC):
    """One recipe on one rank."""

    unit: ClassVar[Literal["samples", "tokens"]] = "samples"
    # True where micro-batches differ in weight (masked tokens): the step then averages over all items of all ranks,
    # so that the number of ranks does not change the loss. Costs one small all-reduce per step.
    uneven: ClassVar[bool] = False
    leaves_result = True

    ranks: Ranks
    seed: int  # of the spec
    knobs: TrainingKnobs  # batch_size and learning_rate may still be "auto" here; the engine replaces them before the first step
    evaluation: EvaluationPlan | None  # None: the last weights are the result
    num_train_rows: int  # rows of the training split: ``train_batch`` is asked for 0 .. num_train_rows - 1
    endless = False  # never stops by itself

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """What ``trainer.models.build`` makes the model from: ``family`` and its arguments, as JSON. Written to config.json."""

    def build_model(self) -> nn.Module:
        """A fresh model on the CPU; the caller has seeded torch."""
        return build(self.architecture())

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        return new_optimizer(model, self.knobs)

    def order(self, epoch: int) -> Rows:
        """The rows of an epoch in the order in which they are trained on; every epoch of a run has the same length."""
        return order_of_epoch(self.num_train_rows, seed=self.seed, epoch=epoch)

    @abstractmethod
    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        """Rows of the training split, augmented, on the CPU or on the rank's device; the engine moves them. May run in a thread."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        """The training loss of a batch on the rank's device. The engine has set autocast; compute losses from ``.float()``."""

    def weight(self, batch: Batch) -> float:
        """How many items the loss of a batch is the mean of, known before the forward pass. Asked of uneven tasks only."""
        return float((batch["labels"] != IGNORED).sum())

    def num_units(self, batch: Batch) -> int:
        """How many samples or tokens a batch is, for throughput."""
        return len(next(iter(batch.values())))

    @abstractmethod
    def evaluate(self, model: nn.Module, split: Split) -> Score:
        """A collective: every rank looks at its share (``trainer.evaluation.shares``) and learns the score of the whole split.

        The model is in eval mode, under autocast and inference mode.
        """

    @abstractmethod
    def test(self, model: nn.Module) -> Tested:
        """The same for the test split, once, with the weights that are packaged; remembers predictions."""

    @abstractmethod
    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        """Rank 0 alone: fills and seals ``run.dir.artifacts``. ``model`` is a plain copy on the CPU, final weights, eval mode."""

    def adversarial_input(self, batch: Batch) -> str | None:
        """The key of the batch's float tensor that FGSM and PGD may move; None where the recipe has none."""
        return None

    def flops_per_unit(self) -> float | None:
        """Forward and backward floating-point operations of one sample or token, for MFU; None when unknown."""
        return None
