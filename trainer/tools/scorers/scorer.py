"""What a recipe brings to be scored by, and the way of those that are scored row by row."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from core.recipes.model_evaluation import ModelEvaluationSpec
from trainer.data.findings import Findings
from trainer.errors import InvalidData
from trainer.predict.predictor import Predictor, Record
from trainer.predict.rows import Row, rows_of
from trainer.state import Run
from trainer.tools.batches import batches_of, each_or_problem
from trainer.tools.prediction_file import PredictionFile


@dataclass(frozen=True, slots=True)
class Scoring:
    """What all scorers are made of."""

    run: Run
    spec: ModelEvaluationSpec
    predictor: Predictor
    findings: Findings = field(default_factory=Findings)

    def on_device(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self.run.ranks.device) for name, tensor in batch.items()}

    def wants(self, part: str | None) -> bool:
        return self.spec.data.split in ("all", part)

    def check_rows(self, num_rows: int) -> None:
        """Raises InvalidData with all that is wrong, as ``on_bad_rows`` says, and when there is nothing to score."""
        self.findings.settle(self.spec.data.on_bad_rows if num_rows else "fail")
        split = self.spec.data.split
        if not num_rows:
            raise InvalidData(["there are no rows" if split == "all" else f"the dataset says of no row that it is of the {split} split"])


class Scorer(ABC):
    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring

    @abstractmethod
    def score(self, root: Path, file: PredictionFile) -> tuple[dict[str, float], int] | None:
        """The metrics and the number of rows that they are of; None when asked to stop. What is predicted goes into ``file``."""

    def details(self) -> dict[str, Any]:
        """What else ``metrics.json`` holds."""
        return {}


NewScorer = Callable[[Scoring], Scorer]


class RowScorer(Scorer):
    """Row by row: what ``take`` counts is what ``metrics`` is of."""

    def rows(self, root: Path) -> Iterator[Row]:
        return rows_of(root, self.scoring.predictor, split_column=self.scoring.spec.data.split_column)

    @abstractmethod
    def take(self, records: Sequence[Record]) -> Sequence[dict[str, Any]]:
        """Counts them; the columns of each in predictions.csv. Raises BadInput before anything is counted."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Of all that was taken."""

    def score(self, root: Path, file: PredictionFile) -> tuple[dict[str, float], int] | None:
        scoring = self.scoring
        wanted = (row for row in self.rows(root) if scoring.wants(row.part))
        num_rows = num_seen = 0
        for batch in batches_of(wanted, scoring.spec.evaluation.batch_size):
            if scoring.run.stop.asked:
                return None
            with torch.inference_mode():
                for row, columns, problem in each_or_problem(self.take, batch):
                    if problem is not None:
                        scoring.findings.bad_row(problem, **row.where)
                    else:
                        file.add({"file": row.file, "row": row.row, **(columns or {})})
                        num_rows += 1
            num_seen += len(batch)
            scoring.run.report.progress(step=num_seen)
        scoring.check_rows(num_rows)
        return self.metrics(), num_rows
