"""Recommenders: the error of ratings, or how well what a user took is ranked among all items."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from trainer.data.cells import as_number
from trainer.data.ratings import NAMES, UNKNOWN
from trainer.number_scores import NumberTally
from trainer.predict.predictor import BadInput, Record, usual_column
from trainer.predict.recommendation import Predictor
from trainer.predict.rows import rows_of
from trainer.ranking_scores import AT, NEVER, RankingTally, top_items
from trainer.tools.batches import batches_of, each_or_problem
from trainer.tools.prediction_file import PredictionFile
from trainer.tools.scorers.scorer import RowScorer, Scorer, Scoring


def new_scorer(scoring: Scoring) -> Scorer:
    return Rated(scoring) if scoring.predictor.config["preprocessing"]["explicit"] else Ranked(scoring)


class Rated(RowScorer):
    """Predictions are kept in the range of the training ratings; the loss is of the scores as they are."""

    def __init__(self, scoring: Scoring) -> None:
        super().__init__(scoring)
        assert isinstance(scoring.predictor, Predictor)
        self.predictor = scoring.predictor
        self.range: list[float] = scoring.predictor.config["preprocessing"]["rating_range"]
        self.tally = NumberTally(sum(self.range) / 2, scoring.run.ranks.device)

    def take(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        ratings = torch.tensor([self._rating(record) for record in records], dtype=torch.float64)
        if any(self.predictor.named(record, "item") is None for record in records):
            raise BadInput("there is no item")
        batch = self.scoring.on_device(self.predictor.prepare(records))
        scores = self.predictor.model(batch["users"], batch["items"][:, :1]).double().squeeze(1)
        own, predictions = ratings.to(scores.device), scores.clamp(*self.range)
        self.tally.add(predictions, own, (scores - own) ** 2)
        return [
            {
                "user": self.predictor.named(record, "user"),
                "item": self.predictor.named(record, "item"),
                "rating": rating,
                "prediction": value,
            }
            for record, rating, value in zip(records, ratings.tolist(), predictions.tolist(), strict=True)
        ]

    def metrics(self) -> dict[str, float]:
        found = self.tally.total(self.scoring.run.ranks)
        return {name: found[name] for name in ("loss", "rmse", "mae")}

    def _rating(self, record: Record) -> float:
        asked = self.scoring.spec.data.label_column
        column = usual_column(record, asked, () if asked else NAMES["rating"])
        number = as_number(record[column]) if column is not None else None
        if column is None:
            raise BadInput(f"there is no column {asked or NAMES['rating'][0]!r} with the rating")
        if number is None or not math.isfinite(number):
            raise BadInput(f"column {column}: {record[column]!r} is not a finite number")
        return number


class Ranked(Scorer):
    """Every row is something that its user took. Not offered are the items that training had of the user and, where the test split
    is scored, those of the validation split, which came before it.

    A line of predictions.csv is a user, for rankings are of users.
    """

    def __init__(self, scoring: Scoring) -> None:
        super().__init__(scoring)
        assert isinstance(scoring.predictor, Predictor)
        self.predictor = scoring.predictor
        self.taken: dict[str, list[str]] = {}  # items by user, in the order of rows
        self.before: dict[str, set[int]] = {}
        self.tally = RankingTally()

    def score(self, root: Path, file: PredictionFile) -> tuple[dict[str, float], int] | None:
        scoring = self.scoring
        if (num_rows := self._read(root)) is None:
            return None
        scoring.check_rows(num_rows)
        users = list(self.taken)
        for start in range(0, len(users), scoring.spec.evaluation.batch_size):
            if scoring.run.stop.asked:
                return None
            with torch.inference_mode():
                self._rank(users[start : start + scoring.spec.evaluation.batch_size], file)
            scoring.run.report.progress(step=num_rows + start)
        return self.tally.total(scoring.run.ranks), num_rows

    def _read(self, root: Path) -> int | None:
        scoring, num_rows = self.scoring, 0
        rows = rows_of(root, self.predictor, split_column=scoring.spec.data.split_column)
        for batch in batches_of(rows, scoring.spec.evaluation.batch_size):
            if scoring.run.stop.asked:
                return None
            for row, pair, problem in each_or_problem(self._pairs, batch):
                is_earlier = scoring.spec.data.split == "test" and row.part == "validation"
                if not scoring.wants(row.part) and not is_earlier:
                    continue
                if pair is None:
                    scoring.findings.bad_row(problem or "", **row.where)
                elif is_earlier:
                    self.before.setdefault(pair[0], set()).add(self.predictor.numbers["items"].get(pair[1], UNKNOWN))
                else:
                    self.taken.setdefault(pair[0], []).append(pair[1])
                    num_rows += 1
            scoring.run.report.progress(step=num_rows)
        return num_rows

    def _pairs(self, records: Sequence[Record]) -> list[tuple[str, str]]:
        found = [(self.predictor.named(record, "user"), self.predictor.named(record, "item")) for record in records]
        if any(None in pair for pair in found):
            raise BadInput("there is no user or no item")
        return [(str(user), str(item)) for user, item in found]

    def _rank(self, users: list[str], file: PredictionFile) -> None:
        names = self.predictor.names["items"]
        numbers = [self.predictor.numbers["users"].get(user, UNKNOWN) for user in users]
        device = self.scoring.run.ranks.device
        everything = torch.arange(len(names) + 1, device=device).expand(len(users), -1)
        scores = self.predictor.model(torch.tensor(numbers, device=device), everything).float()
        scores[:, UNKNOWN] = NEVER
        logarithms = scores.log_softmax(1)
        for row, (user, number) in enumerate(zip(users, numbers, strict=True)):
            seen = self.before.get(user, set()) | set(self.predictor.seen.get(number, []) if number != UNKNOWN else [])
            items = [self.predictor.numbers["items"].get(item, UNKNOWN) for item in dict.fromkeys(self.taken[user])]
            relevant = set(items) - seen - {UNKNOWN}
            if relevant:
                self.tally.add_losses(-logarithms[row, sorted(relevant)])
            scores[row, sorted(seen)] = NEVER
            top = top_items(scores[row : row + 1], min(AT, len(names)))[0].tolist()
            if num_relevant := len(relevant) + items.count(UNKNOWN):
                self.tally.add_user(top, relevant, num_relevant)
                ranked = [names[item - 1] for item in top if item != UNKNOWN]
                file.add({"user": user, "items": self.taken[user], "prediction": ranked})
