"""Classifiers of texts and of images: the class of each row against the likeliest one."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.recipes.image_classification import Data as ImageData
from trainer.class_report import MOST_LISTED_CLASSES
from trainer.class_scores import ClassTally, confusion_of, per_class
from trainer.data.images.decode import Unusable
from trainer.data.images.importing import list_images
from trainer.data.text.columns import LABEL_NAMES, name_of, problem_of_label
from trainer.predict.predictor import BadInput, Record, usual_column
from trainer.predict.rows import Row
from trainer.tools.scorers.scorer import RowScorer, Scoring

CLASS = "\x00class"  # a key that no column has


class Classes(RowScorer):
    def __init__(self, scoring: Scoring) -> None:
        super().__init__(scoring)
        self.names: list[str] = list(scoring.predictor.config["labels"])
        self.number_of = {name: number for number, name in enumerate(self.names)}
        self.tally = ClassTally(len(self.names), scoring.run.ranks.device)
        self.confusion = np.zeros((len(self.names),) * 2, dtype=np.int64) if len(self.names) <= MOST_LISTED_CLASSES else None

    @abstractmethod
    def class_of(self, record: Record) -> str:
        """What the row says that it is. Raises BadInput."""

    def take(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        labels = torch.tensor([self._number(self.class_of(record)) for record in records])
        batch = self.scoring.on_device(self.scoring.predictor.prepare(records))
        logits = self.scoring.predictor.model(**batch).float()
        self.tally.add(logits, labels.to(logits.device))
        probabilities, predictions = (part.cpu() for part in logits.softmax(1).max(1))
        if self.confusion is not None:
            self.confusion += confusion_of(labels.numpy(), predictions.numpy(), len(self.names))
        found = zip(labels.tolist(), predictions.tolist(), probabilities.tolist(), strict=True)
        return [
            {"label": self.names[label], "prediction": self.names[prediction], "probability": round(probability, 6)}
            for label, prediction, probability in found
        ]

    def metrics(self) -> dict[str, float]:
        return self.tally.total(self.scoring.run.ranks)

    def details(self) -> dict[str, Any]:
        if self.confusion is None:
            return {}
        return {"per_class": per_class(self.confusion, self.names), "confusion": {"labels": self.names, "counts": self.confusion.tolist()}}

    def _number(self, name: str) -> int:
        if name not in self.number_of:
            raise BadInput(f"the model does not know class {name!r}")
        return self.number_of[name]


class TextClasses(Classes):
    def class_of(self, record: Record) -> str:
        asked = self.scoring.spec.data.label_column
        column = usual_column(record, asked, () if asked else LABEL_NAMES)
        if column is None:
            raise BadInput(f"there is no column {asked or LABEL_NAMES[0]!r} with its class")
        problem = problem_of_label(record[column])
        if problem is not None:
            raise BadInput(f"column {column}: {problem}")
        return name_of(record[column])


class ImageClasses(Classes):
    """Images in whatever form training takes them."""

    def rows(self, root: Path) -> Iterator[Row]:
        knobs, predictor, findings = self.scoring.spec.data, self.scoring.predictor, self.scoring.findings
        named: dict[str, Any] = {"label_column": knobs.label_column} if knobs.label_column is not None else {}
        data = ImageData(image_column=predictor.content_column, split_column=knobs.split_column, **named)
        listing = list_images(root, data, findings)
        findings.settle("drop")
        for position in range(len(listing)):
            file, row, part = listing.files[position], listing.rows[position] or None, listing.parts[position]
            label = listing.labels[position]
            try:
                record = {predictor.content_column: listing.read(position), CLASS: listing.names.get(label, str(label))}
                yield Row(file, row, record, part)
            except Unusable as error:
                yield Row(file, row, {}, part, problem=str(error))

    def class_of(self, record: Record) -> str:
        return str(record[CLASS])
