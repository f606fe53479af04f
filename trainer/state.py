"""Where a run is and what it has found so far: all of it that a resumed run must know besides tensors."""

from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from torch.optim import Optimizer

from core.run_dir import RunDir, RunFile
from trainer.metrics import Reporter
from trainer.parallel import Ranks
from trainer.stop import StopFlag

Tensors = dict[str, torch.Tensor]


class Score(BaseModel):
    """How good a model is on one split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: float
    accuracy: float
    num_samples: int

    def named(self, split: str) -> dict[str, float]:
        return {f"{split}_loss": self.loss, f"{split}_accuracy": self.accuracy}


class Best(BaseModel):
    """The best evaluation so far; its weights are kept beside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    epoch: int
    score: Score


class State(BaseModel):
    """``state.json`` of a checkpoint. ``step`` optimiser steps are done; the next is ``step_in_epoch`` of ``epoch``, both from 0.

    ``step_in_epoch`` equal to the steps of an epoch means: all its steps are done, its evaluation is not.
    """

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    is_finished: bool = False
    best: Best | None = None
    accuracy_to_beat: float | None = None
    num_stale_evaluations: int = 0
    seconds: float = 0.0
    next_metric_seq: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What the parts of one rank share."""

    file: RunFile
    dir: RunDir
    ranks: Ranks
    stop: StopFlag
    report: Reporter


@dataclass(slots=True)
class Learner:
    """A model in training. ``wrapped`` is the one to call forward on; its gradients are averaged over the ranks."""

    model: nn.Module
    wrapped: nn.Module
    optimizer: Optimizer
    best_weights: Tensors | None = field(default=None)

    def weights(self) -> Tensors:
        """The model's parameters and buffers by name; not copies."""
        state: dict[str, Any] = self.model.state_dict()
        return state
