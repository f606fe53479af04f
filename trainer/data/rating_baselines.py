"""What ratings come to without a model: the mean, and what users and items add to it. The bar for any recommender.

Numbers of users and items start with 0, the unknown, which adds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.ratings import Ratings

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

STRENGTHS = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)  # rows of a neutral rating that each user or item starts with
NUM_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Effects:
    mean: float
    users: Numbers
    items: Numbers

    def predict(self, users: Rows, items: Rows, low: float, high: float) -> Numbers:
        return np.clip(self.mean + self.users[users] + self.items[items], low, high)


def plain_means(data: Ratings) -> Effects:
    """How far the mean of a user, and of an item, are from the mean of all, each on its own."""
    users, items, ratings = _training(data)
    rest = ratings - ratings.mean()
    return Effects(float(ratings.mean()), _means(users, rest, data.num_users, 0.0), _means(items, rest, data.num_items, 0.0))


def shrunk_effects(data: Ratings, user_strength: float, item_strength: float) -> Effects:
    """Ridge regression on who and what, by turns (Koren 2009, section 2.1): users and items with few rows stay close to 0."""
    users, items, ratings = _training(data)
    rest = ratings - ratings.mean()
    by_user, by_item = np.zeros(data.num_users), np.zeros(data.num_items)
    for _ in range(NUM_ROUNDS):
        by_item = _means(items, rest - by_user[users], data.num_items, item_strength)
        by_user = _means(users, rest - by_item[items], data.num_users, user_strength)
    return Effects(float(ratings.mean()), by_user, by_item)


def best_shrunk_effects(data: Ratings, strengths: Sequence[float] = STRENGTHS) -> tuple[Effects, tuple[float, float]]:
    """With the strengths that do best on the validation split."""
    found = {pair: shrunk_effects(data, *pair) for pair in product(strengths, strengths)}
    best = min(found, key=lambda pair: rmse_of(found[pair], data, data.splits.validation))
    return found[best], best


def rmse_of(effects: Effects, data: Ratings, rows: Rows) -> float:
    predicted = effects.predict(data.users[rows], data.items[rows], *rating_range(data))
    return float(np.sqrt(np.mean((predicted - data.ratings[rows]) ** 2)))


def rating_range(data: Ratings) -> tuple[float, float]:
    own = data.ratings[data.splits.train]
    return float(own.min()), float(own.max())


def baselines(data: Ratings) -> dict[str, Any]:
    """RMSE on the test split, learned from the training split, for metrics.json."""
    test = data.splits.test
    shrunk, strengths = best_shrunk_effects(data)
    nothing = Effects(shrunk.mean, np.zeros(data.num_users), np.zeros(data.num_items))
    return {
        "mean": {"rmse": rmse_of(nothing, data, test)},
        "user_and_item_means": {"rmse": rmse_of(plain_means(data), data, test)},
        "shrunk_user_and_item_effects": {"rmse": rmse_of(shrunk, data, test), "strengths": list(strengths)},
    }


def _training(data: Ratings) -> tuple[Rows, Rows, Numbers]:
    rows = data.splits.train
    return data.users[rows], data.items[rows], data.ratings[rows]


def _means(numbers: Rows, values: Numbers, size: int, strength: float) -> Numbers:
    """Per number the sum over (count + strength); 0 for those without rows."""
    counts = np.bincount(numbers, minlength=size)
    sums = np.bincount(numbers, weights=values, minlength=size)
    means: Numbers = np.divide(sums, counts + strength, out=np.zeros(size), where=counts > 0)
    return means
