"""Where a run is and what it has found so far: all of it that a resumed run must know besides tensors."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from torch.optim import Optimizer

from core.run_dir import RunDir, RunFile
from trainer.metrics import Reporter
from trainer.parallel import Ranks
from trainer.regularise.averaging import WeightAverage
from trainer.stop import StopFlag

Tensors = dict[str, torch.Tensor]


class Score(BaseModel):
    """How good a model is on one split. ``metrics`` holds "loss" and whatever else the recipe measures, without the split's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: dict[str, float]
    num_rows: int

    def named(self, split: str) -> dict[str, float]:
        return {f"{split}_{name}": value for name, value in self.metrics.items()}


class Best(BaseModel):
    """The best evaluation so far; its weights are kept beside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    epoch: int
    score: Score


class State(BaseModel):
    """``state.json`` of a checkpoint. ``step`` optimiser steps are done; the next is ``step_in_epoch`` of ``epoch``, both from 0.

    ``step_in_epoch`` equal to the steps of an epoch means: all its steps are done. An evaluation that is due at ``step``
    is done when ``evaluated_step`` says so.
    """

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    is_finished: bool = False
    evaluated_step: int = 0
    best: Best | None = None
    value_to_beat: float | None = None
    num_stale_evaluations: int = 0
    seconds: float = 0.0
    next_metric_seq: int = 0
    # What "auto" came to before the first step; a resumed run goes on with it.
    batch_size: int = 0
    peak_rate: float = 0.0


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
    """A model in training. ``wrapped`` is the one to call forward on; its gradients are averaged over the ranks.

    ``average`` follows the weights when the spec asks for it, and is then what is evaluated and kept. ``best_weights`` are
    this rank's part of the model's state dict at the best evaluation.
    """

    model: nn.Module
    wrapped: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None = None
    scaler: torch.amp.GradScaler | None = None
    best_weights: Tensors | None = field(default=None)

    def weights(self) -> Tensors:
        """The model's parameters and buffers by name, as this rank holds them; not copies."""
        state: dict[str, Any] = self.model.state_dict()
        return state

    def evaluated_weights(self) -> AbstractContextManager[None]:
        """Within it the model has the weights that count: the averaged ones when there are any."""
        return self.average.in_place_of(self.model) if self.average is not None and self.average.is_started else nullcontext()
