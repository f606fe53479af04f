"""Taggers: entities found whole, as the CoNLL shared task counts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from core.recipes.token_classification import Data
from trainer.data.tagged import usable_sentences
from trainer.entity_scores import entity_scores
from trainer.predict.predictor import BadInput, Record
from trainer.predict.rows import Row
from trainer.predict.token_classification import Predictor
from trainer.tagging import ask
from trainer.tasks.task import IGNORED
from trainer.tools.scorers.scorer import RowScorer, Scoring

TOKENS, TAGS = "tokens", "\x00tags"


class Tags(RowScorer):
    """Words that the model cuts off count as O and have no loss."""

    def __init__(self, scoring: Scoring) -> None:
        super().__init__(scoring)
        assert isinstance(scoring.predictor, Predictor)
        self.predictor = scoring.predictor
        self.number_of = {name: number for number, name in enumerate(scoring.predictor.config["labels"])}
        self.true: list[list[str]] = []
        self.predicted: list[list[str]] = []
        self.loss, self.num_words = 0.0, 0

    def rows(self, root: Path) -> Iterator[Row]:
        knobs = self.scoring.spec.data
        table, sentences = usable_sentences(
            root, Data(tags_column=knobs.label_column, split_column=knobs.split_column), self.scoring.findings
        )
        for position, (words, tags) in enumerate(sentences):
            yield Row(table.files[position], table.rows[position], {TOKENS: words, TAGS: tags}, table.parts[position])

    def take(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        numbers = [self._numbers(record[TAGS]) for record in records]
        batch = self.scoring.on_device(self.predictor.reader.read([record[TOKENS] for record in records]))
        said = ask(self.predictor.model, batch)
        labels = torch.full(said.mask.shape, IGNORED)
        lengths = said.mask.sum(1).tolist()
        for row, (own, length) in enumerate(zip(numbers, lengths, strict=True)):
            labels[row, :length] = torch.tensor(own[:length])
        self.loss += float(said.loss(labels.to(said.mask.device)))
        self.num_words += sum(lengths)
        names = list(self.number_of)
        told = [[names[tag] for tag in tags[:length]] for tags, length in zip(said.tags().tolist(), lengths, strict=True)]
        predicted = [tags + ["O"] * (len(own) - len(tags)) for tags, own in zip(told, numbers, strict=True)]
        true = [record[TAGS] for record in records]
        self.true += true
        self.predicted += predicted
        rows = zip(records, true, predicted, strict=True)
        return [{"tokens": record[TOKENS], "tags": tags, "prediction": prediction} for record, tags, prediction in rows]

    def metrics(self) -> dict[str, float]:
        overall, _ = entity_scores(self.true, self.predicted)
        pairs = zip(self.true, self.predicted, strict=True)
        num_right = sum(one == other for ours, theirs in pairs for one, other in zip(ours, theirs, strict=True))
        return {"loss": self.loss / max(self.num_words, 1), "accuracy": num_right / sum(map(len, self.true)), **overall}

    def details(self) -> dict[str, Any]:
        return {"per_type": entity_scores(self.true, self.predicted)[1]}

    def _numbers(self, tags: Sequence[str]) -> list[int]:
        unknown = sorted(set(tags) - self.number_of.keys())
        if unknown:
            raise BadInput(f"the model does not know the tag {unknown[0]!r}")
        return [self.number_of[tag] for tag in tags]
