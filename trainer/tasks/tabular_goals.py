"""What a tabular model is trained for: to tell classes apart, or to hit a number. Losses, scores, and what goes into predictions.csv."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch

from core.recipes.tabular import TabularSpec
from trainer.class_report import MOST_PROBABILITIES, Numbers, class_details, confusion_matrix
from trainer.class_scores import ClassTally
from trainer.data.balance import class_weights
from trainer.data.tabular import TabularData
from trainer.errors import InvalidData
from trainer.losses import CLASS_LOSSES, LossName, loss_function
from trainer.number_scores import NumberTally
from trainer.tasks.task import Outcome, Rows


class Goal(ABC):
    """``targets`` below are the tensor of ``training_targets``, rows of it; ``outputs`` are (N, ``num_outputs``)."""

    metric: str
    num_outputs: int
    training_targets: torch.Tensor

    @abstractmethod
    def outcome(self, outputs: torch.Tensor, targets: torch.Tensor) -> Outcome: ...

    @abstractmethod
    def new_tally(self, device: torch.device) -> ClassTally | NumberTally: ...

    @abstractmethod
    def count(self, tally: Any, outputs: torch.Tensor, targets: torch.Tensor) -> None: ...

    @abstractmethod
    def columns(self, outputs: torch.Tensor, rows: Rows) -> dict[str, list[Any]]: ...

    def details(self, columns: dict[str, list[Any]]) -> dict[str, Any]:
        """What else metrics.json holds; ``columns`` are those of predictions.csv."""
        return {}


class Classes(Goal):
    metric = "accuracy"

    def __init__(self, data: TabularData, spec: TabularSpec) -> None:
        self.labels = data.labels
        self.num_outputs = len(data.labels)
        self.training_targets = torch.from_numpy(data.targets.astype(np.int64))
        weights = class_weights(data.targets[data.splits.train].astype(np.int64), self.num_outputs, spec.data.class_weights)
        balanced = spec.data.class_weights == "balanced"
        knobs = spec.training
        self.criterion = loss_function(
            CLASS_LOSSES.get(knobs.loss, "cross_entropy"),
            class_weights=weights if balanced else None,
            label_smoothing=knobs.label_smoothing,
            gamma=knobs.focal_gamma,
        )

    def outcome(self, outputs: torch.Tensor, targets: torch.Tensor) -> Outcome:
        right = (outputs.argmax(1) == targets).sum()
        loss = self.criterion(outputs.float(), targets)
        return Outcome(loss=loss, weight=float(len(targets)), num_correct=right, logits=outputs)

    def new_tally(self, device: torch.device) -> ClassTally:
        return ClassTally(self.num_outputs, device)

    def count(self, tally: Any, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        tally.add(outputs, targets)

    def columns(self, outputs: torch.Tensor, rows: Rows) -> dict[str, list[Any]]:
        probabilities = outputs.float().softmax(1).numpy()
        found: dict[str, list[Any]] = {
            "label": [self.labels[number] for number in self.training_targets[rows].tolist()],
            "prediction": [self.labels[number] for number in probabilities.argmax(1).tolist()],
            "probability": probabilities.max(1).round(6).tolist(),
        }
        if self.num_outputs <= MOST_PROBABILITIES:
            found |= {f"probability of {name}": column.round(6).tolist() for name, column in zip(self.labels, probabilities.T, strict=True)}
        return found

    def details(self, columns: dict[str, list[Any]]) -> dict[str, Any]:
        return class_details(*self._numbers(columns), self.labels)

    def confusion(self, columns: dict[str, list[Any]]) -> tuple[list[str], Numbers] | None:
        return confusion_matrix(*self._numbers(columns), self.labels)

    def _numbers(self, columns: dict[str, list[Any]]) -> tuple[Numbers, Numbers]:
        """Labels and predictions of predictions.csv."""
        number_of = {label: number for number, label in enumerate(self.labels)}
        labels, predictions = (np.array([number_of[name] for name in columns[key]], dtype=np.int64) for key in ("label", "prediction"))
        return labels, predictions


class Quantity(Goal):
    """The target less its mean, over its deviation, both of the training rows; scores are in its own unit again."""

    metric = "mse"
    num_outputs = 1

    def __init__(self, data: TabularData, spec: TabularSpec) -> None:
        own = data.targets[data.splits.train].astype(np.float64)
        self.centre, self.scale = float(own.mean()), float(own.std()) or 1.0
        self.training_targets = torch.from_numpy((data.targets - self.centre) / self.scale).float()
        self.targets = torch.from_numpy(data.targets.astype(np.float64))
        asked = spec.training.loss
        name: LossName = asked if asked in ("mae", "huber") else "mse"
        self.criterion = loss_function(name, delta=spec.training.huber_delta)

    def outcome(self, outputs: torch.Tensor, targets: torch.Tensor) -> Outcome:
        return Outcome(loss=self.criterion(outputs.squeeze(1), targets), weight=float(len(targets)))

    def new_tally(self, device: torch.device) -> NumberTally:
        return NumberTally(self.centre, device)

    def count(self, tally: Any, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        losses = self.criterion(outputs.squeeze(1), targets).expand(len(targets))
        tally.add(self.in_own_unit(outputs), targets.double() * self.scale + self.centre, losses)

    def in_own_unit(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.double().squeeze(1) * self.scale + self.centre

    def columns(self, outputs: torch.Tensor, rows: Rows) -> dict[str, list[Any]]:
        return {"target": self.targets[rows].tolist(), "prediction": self.in_own_unit(outputs).tolist()}


def goal_of(data: TabularData, spec: TabularSpec) -> Goal:
    """Raises InvalidData when the spec asks for a loss or a metric that the target does not have."""
    loss, metric = spec.training.loss, spec.evaluation.metric
    goal: Goal = Classes(data, spec) if data.kind == "classification" else Quantity(data, spec)
    fits = {"classification": (("auto", *CLASS_LOSSES), (None, "accuracy", "macro_f1", "loss"))}
    losses, metrics = fits.get(data.kind, (("auto", "mse", "mae", "huber"), (None, "mse", "rmse", "mae", "r2", "loss")))
    if loss not in losses or metric not in metrics:
        found = f"column {data.columns.target!r} is a target of {data.kind}"
        raise InvalidData([f"{found}, for which there is no loss {loss} or metric {metric}; data.kind can say otherwise"])
    if spec.training.r_drop and data.kind != "classification":
        raise InvalidData([f"column {data.columns.target!r} is a target of {data.kind}, and training.r_drop compares classes"])
    return goal
