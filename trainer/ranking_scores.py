"""How well ranked items are those that a user took later: recall and NDCG at k, one by one and over the ranks."""

import math

import torch

from trainer.parallel import Ranks

AT = 10
NEVER = float("-inf")


def top_items(scores: torch.Tensor, num: int) -> torch.Tensor:
    """(N, num) item numbers, best first. Of equal scores the smaller number comes first, on every machine."""
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :num]


def recall_and_ndcg(top: list[int], relevant: set[int], num_relevant: int) -> tuple[float, float]:
    """Of one user. ``num_relevant`` may be more than ``len(relevant)``: items that no ranking could have held.

    Recall divides by what fits into the ranking at most; NDCG has gains of 0 and 1 (Järvelin and Kekäläinen 2002).
    """
    best = min(num_relevant, AT)
    hits = [position for position, item in enumerate(top[:AT]) if item in relevant]
    gain = sum(1 / math.log2(position + 2) for position in hits)
    ideal = sum(1 / math.log2(position + 2) for position in range(best))
    return len(hits) / best, gain / ideal


class RankingTally:
    """Means over users of recall and NDCG, and over their items of the loss: the cross-entropy among all items."""

    def __init__(self) -> None:
        self._sums = [0.0] * 5  # recall, ndcg, users, loss, items

    def add_user(self, top: list[int], relevant: set[int], num_relevant: int) -> None:
        recall, ndcg = recall_and_ndcg(top, relevant, num_relevant)
        self._add(recall, ndcg, 1.0, 0.0, 0.0)

    def add_losses(self, losses: torch.Tensor) -> None:
        self._add(0.0, 0.0, 0.0, losses.double().sum().item(), float(len(losses)))

    def _add(self, *numbers: float) -> None:
        self._sums = [before + number for before, number in zip(self._sums, numbers, strict=True)]

    def total(self, ranks: Ranks) -> dict[str, float]:
        """A collective."""
        recall, ndcg, users, loss, items = ranks.sum(self._sums)
        return {
            "loss": loss / max(items, 1.0),
            f"recall_at_{AT}": recall / max(users, 1.0),
            f"ndcg_at_{AT}": ndcg / max(users, 1.0),
        }
