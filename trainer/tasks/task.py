"""What a recipe brings to the loop. The loop owns steps, agreement, stopping, checkpoints and metrics; a task owns meaning."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from trainer.state import Learner, Run, Score, State

Split = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    every_epochs: int
    patience: int | None
    min_delta: float


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """One rank's share of a step: the mean loss to be differentiated, how many were right (or None), and of how many."""

    loss: torch.Tensor
    num_correct: torch.Tensor | None
    num_samples: int


class Task(Protocol):
    """Every method that looks at data is a pure function of (seed, epoch, step, rank), so that a resumed run sees the same."""

    num_epochs: int | None  # None: until it is stopped
    steps_per_epoch: int
    log_every_steps: int
    gradient_clip: float | None
    evaluation: EvaluationPlan | None  # None: the last weights are the result
    leaves_result: bool

    def build_model(self) -> nn.Module:
        """A fresh model on the CPU; the caller has seeded torch."""
        ...

    def build_optimizer(self, model: nn.Module) -> Optimizer: ...

    def learning_rate(self, step: int) -> float: ...

    def forward(self, model: nn.Module, state: State) -> BatchOutcome:
        """The loss of this rank's share of the batch at ``state``."""
        ...

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        """A collective: every rank looks at its share and learns the score of the whole split."""
        ...

    def test(self, model: nn.Module) -> dict[str, float]:
        """A collective: the final metrics of the final weights, which ``model`` holds."""
        ...

    def package(self, run: Run, learner: Learner, state: State, metrics: dict[str, float]) -> None:
        """Rank 0 alone: fills ``run.dir.artifacts``, where ``model.safetensors`` lies already, and seals it."""
        ...
