"""Tabular models: the target column's class, or its number in its own unit."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from trainer.data.cells import as_category, as_number, is_missing
from trainer.number_scores import NumberTally
from trainer.predict.predictor import BadInput, Record
from trainer.tools.scorers.classes import Classes
from trainer.tools.scorers.scorer import RowScorer, Scorer, Scoring


def new_scorer(scoring: Scoring) -> Scorer:
    return Quantity(scoring) if scoring.predictor.config["kind"] == "regression" else TargetClasses(scoring)


def target_in(scoring: Scoring, record: Record) -> Any:
    """The cell. Raises BadInput where there is nothing."""
    column = scoring.spec.data.label_column or scoring.predictor.config["target"]
    if column not in record:
        raise BadInput(f"there is no column {column!r} with the target")
    if is_missing(record[column]):
        raise BadInput(f"column {column}: the target is missing")
    return record[column]


class TargetClasses(Classes):
    def class_of(self, record: Record) -> str:
        return as_category(target_in(self.scoring, record))


class Quantity(RowScorer):
    """``loss`` is the squared error in deviations of the training rows' target, whatever loss training had."""

    def __init__(self, scoring: Scoring) -> None:
        super().__init__(scoring)
        output = scoring.predictor.config["output"]
        self.centre, self.scale = float(output["centre"]), float(output["scale"])
        self.tally = NumberTally(self.centre, scoring.run.ranks.device)

    def take(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        targets = torch.tensor([self._number(target_in(self.scoring, record)) for record in records], dtype=torch.float64)
        batch = self.scoring.on_device(self.scoring.predictor.prepare(records))
        predictions = self.scoring.predictor.model(**batch).double().squeeze(1) * self.scale + self.centre
        own = targets.to(predictions.device)
        self.tally.add(predictions, own, ((predictions - own) / self.scale) ** 2)
        return [{"target": target, "prediction": value} for target, value in zip(targets.tolist(), predictions.tolist(), strict=True)]

    def metrics(self) -> dict[str, float]:
        return self.tally.total(self.scoring.run.ranks)

    def _number(self, cell: Any) -> float:
        number = as_number(cell)
        if number is None or not math.isfinite(number):
            raise BadInput(f"the target {cell!r} is not a finite number")
        return number
