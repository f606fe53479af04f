"""What a recommender is trained for: to hit ratings, or to rank what a user takes above what they do not."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from core.recipes.recommendation import MatrixFactorization, RecommendationSpec
from trainer.data.interactions import Wanted, seen_before, wanted_in
from trainer.data.limit import rows_to_score
from trainer.data.rating_baselines import rating_range
from trainer.data.ratings import UNKNOWN, Ratings
from trainer.evaluation import in_row_order, shares
from trainer.number_scores import NumberTally
from trainer.parallel import Ranks
from trainer.ranking_scores import AT, NEVER, RankingTally, top_items
from trainer.state import Score
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Split, Tested

_NEGATIVES = 0x2E6
EVALUATION_ROWS = 8192  # per rank; no effect on scores but for rounding, so it is no knob
EVALUATION_USERS = 128
POPULARITY_POWER = 0.75  # between even and proportional, as for words (Mikolov et al. 2013, arXiv:1310.4546)


class Goal(ABC):
    metric: str

    def __init__(self, data: Ratings, spec: RecommendationSpec) -> None:
        self.data, self.spec = data, spec
        train = data.splits.train
        self.user_counts = np.bincount(data.users[train], minlength=data.num_users)
        self.item_counts = np.bincount(data.items[train], minlength=data.num_items)

    @property
    @abstractmethod
    def mean(self) -> float: ...

    @abstractmethod
    def batch(self, rows: Rows, draw: Draw) -> Batch:
        """``users`` (N,), ``items`` and, for matrix factorisation, ``user_penalties`` and ``item_penalties`` (N, 2)."""

    @abstractmethod
    def losses(self, scores: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(N,)."""

    @abstractmethod
    def evaluate(self, model: nn.Module, split: Split, ranks: Ranks) -> Score: ...

    @abstractmethod
    def test(self, model: nn.Module, ranks: Ranks) -> Tested: ...

    def outcome(self, model: nn.Module, batch: Batch) -> Outcome:
        weight = float(len(batch["users"]))
        if "user_penalties" not in batch:
            return Outcome(loss=self.losses(model(batch["users"], batch["items"]), batch).mean(), weight=weight)
        scores, penalties = model(batch["users"], batch["items"], batch["user_penalties"], batch["item_penalties"])
        return Outcome(loss=(self.losses(scores, batch) + penalties).mean(), weight=weight)

    def penalties(self, rows: Rows) -> Batch:
        """Over an epoch they add up to the knob's strength once for each user and item."""
        model = self.spec.model
        if not isinstance(model, MatrixFactorization):
            return {}
        by_user, by_item = 1 / self.user_counts[self.data.users[rows]], 1 / self.item_counts[self.data.items[rows]]
        return {
            "user_penalties": torch.from_numpy(np.outer(by_user, [model.user_bias_l2, model.vector_l2])).float(),
            "item_penalties": torch.from_numpy(np.outer(by_item, [model.item_bias_l2, model.vector_l2])).float(),
        }


class RatingGoal(Goal):
    """Squared error. Scores are of predictions that are kept in the range of the training ratings."""

    metric = "rmse"

    @property
    def mean(self) -> float:
        return float(self.data.ratings[self.data.splits.train].mean())

    def batch(self, rows: Rows, draw: Draw) -> Batch:
        return {**self._take(rows), **self.penalties(rows)}

    def _take(self, rows: Rows) -> Batch:
        users, items = torch.from_numpy(self.data.users[rows]), torch.from_numpy(self.data.items[rows])
        return {"users": users, "items": items[:, None], "ratings": torch.from_numpy(self.data.ratings[rows]).float()}

    def losses(self, scores: torch.Tensor, batch: Batch) -> torch.Tensor:
        return (scores.float().squeeze(1) - batch["ratings"]) ** 2

    def evaluate(self, model: nn.Module, split: Split, ranks: Ranks) -> Score:
        rows = rows_to_score(self.data.splits, split, self.spec.evaluation.limit_rows, seed=self.spec.seed)
        return self._examine(model, rows, ranks)[0]

    def test(self, model: nn.Module, ranks: Ranks) -> Tested:
        rows, names = self.data.splits.test, self.data
        score, predictions = self._examine(model, rows, ranks)
        columns = {
            "row": rows.tolist(),
            "user": [named(names.user_names, number) for number in names.users[rows].tolist()],
            "item": [named(names.item_names, number) for number in names.items[rows].tolist()],
            "rating": names.ratings[rows].tolist(),
            "prediction": in_row_order(ranks.gather(predictions), ranks).cpu().tolist(),
        }
        return Tested(score=score, predictions=columns)

    def _examine(self, model: nn.Module, rows: Rows, ranks: Ranks) -> tuple[Score, torch.Tensor]:
        low, high = rating_range(self.data)
        tally = NumberTally(self.mean, ranks.device)
        own = [torch.empty(0, device=ranks.device)]
        for positions, num_valid in shares(len(rows), ranks, EVALUATION_ROWS):
            batch = {name: tensor.to(ranks.device) for name, tensor in self._take(rows[positions]).items()}
            scores = model(batch["users"], batch["items"])
            found = scores.float().squeeze(1).clamp(low, high)[:num_valid]
            tally.add(found, batch["ratings"][:num_valid], self.losses(scores, batch)[:num_valid])
            own.append(found)
        metrics = tally.total(ranks)
        return Score(metrics={name: metrics[name] for name in ("loss", "rmse", "mae")}, num_rows=len(rows)), torch.cat(own)


class RankingGoal(Goal):
    """What a user took, against other items. ``items`` of a batch are (N, 1 + K), the right one first, or (N,) for in-batch."""

    metric = "ndcg_at_10"
    mean = 0.0

    def __init__(self, data: Ratings, spec: RecommendationSpec) -> None:
        super().__init__(data, spec)
        weights = self.item_counts**POPULARITY_POWER if spec.training.negatives == "popularity" else np.sign(self.item_counts)
        in_batch = spec.training.negatives == "in-batch"
        shares_of_items = (self.item_counts if in_batch else weights).astype(np.float64)
        self.shares = torch.from_numpy(shares_of_items / shares_of_items.sum())

    def batch(self, rows: Rows, draw: Draw) -> Batch:
        users, items = torch.from_numpy(self.data.users[rows]), torch.from_numpy(self.data.items[rows])
        if self.spec.training.negatives == "in-batch":
            shown = items
        else:
            size = len(rows) * self.spec.training.num_negatives
            drawn = torch.multinomial(self.shares, size, replacement=True, generator=draw.generator(_NEGATIVES))
            shown = torch.cat([items[:, None], drawn.view(len(rows), -1)], dim=1)
        offsets = self.shares[shown].log().float() if self.spec.training.correct_sampling else torch.zeros(shown.shape)
        return {"users": users, "items": shown, "offsets": offsets, **self.penalties(rows)}

    def losses(self, scores: torch.Tensor, batch: Batch) -> torch.Tensor:
        """An item that is drawn against itself does not count. With in-batch negatives the right one of row n is item n."""
        scores, items = scores.float(), batch["items"]
        rows = torch.arange(len(scores), device=scores.device)
        right = rows if items.dim() == 1 else torch.zeros_like(rows)
        own = items if items.dim() == 1 else items[:, 0]
        itself = items == own[:, None]
        itself[rows, right] = False
        if self.spec.training.loss == "softmax":
            # Sampled softmax needs what would have been drawn anyway taken off (logQ).
            return functional.cross_entropy((scores - batch["offsets"]).masked_fill(itself, NEVER), right, reduction="none")
        labels = torch.zeros_like(scores)
        labels[rows, right] = 1.0
        each = functional.binary_cross_entropy_with_logits(scores, labels, reduction="none").masked_fill(itself, 0.0)
        positive = each[rows, right]
        return positive + (each.sum(1) - positive) / (~itself).sum(1).sub(1).clamp(min=1)

    def evaluate(self, model: nn.Module, split: Split, ranks: Ranks) -> Score:
        return self._examine(model, split, ranks)[0]

    def test(self, model: nn.Module, ranks: Ranks) -> Tested:
        score, wanted, top = self._examine(model, "test", ranks)
        names = self.data
        columns: dict[str, list[Any]] = {
            "user": [named(names.user_names, one.user) for one in wanted],
            "items": [[named(names.item_names, item) for item in sorted(one.relevant)] for one in wanted],
            "prediction": [[named(names.item_names, item) for item in items] for items in top.tolist()],
        }
        return Tested(score=score, predictions=columns)

    def _examine(self, model: nn.Module, split: Split, ranks: Ranks) -> tuple[Score, list[Wanted], torch.Tensor]:
        """The score over all ranks, whom it is about, and each one's first items."""
        seen = seen_before(self.data, split) if split != "train" else {}
        wanted = wanted_in(self.data, split, seen)
        if split == "validation" and self.spec.evaluation.limit_rows is not None:
            wanted = wanted[: self.spec.evaluation.limit_rows]
        tally, num_top = RankingTally(), min(AT, self.data.num_items - 1)
        own = [torch.empty(0, num_top, dtype=torch.int64)]
        everything = torch.arange(self.data.num_items, device=ranks.device)
        for positions, num_valid in shares(len(wanted), ranks, EVALUATION_USERS):
            users = torch.tensor([wanted[position].user for position in positions.tolist()], device=ranks.device)
            scores = model(users, everything).float()
            mine = [wanted[position] for position in positions[:num_valid].tolist()]
            own.append(self._count(tally, mine, scores[:num_valid], seen))
        top = in_row_order(ranks.gather(torch.cat(own)), ranks)
        return Score(metrics=tally.total(ranks), num_rows=len(wanted)), wanted, top

    def _count(self, tally: RankingTally, wanted: list[Wanted], scores: torch.Tensor, seen: dict[int, frozenset[int]]) -> torch.Tensor:
        scores[:, UNKNOWN] = NEVER
        logarithms = scores.log_softmax(1)
        for row, one in enumerate(wanted):
            if one.relevant:
                tally.add_losses(-logarithms[row, sorted(one.relevant)])
            scores[row, sorted(seen.get(one.user, ()))] = NEVER
        top = top_items(scores, min(AT, self.data.num_items - 1)).cpu()
        for one, items in zip(wanted, top.tolist(), strict=True):
            tally.add_user(items, set(one.relevant), one.num_relevant)
        return top


def named(names: list[str], number: int) -> str | None:
    """None for what training does not know."""
    return names[number - 1] if number != UNKNOWN else None
