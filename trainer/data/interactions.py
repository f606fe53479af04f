"""Items per user: what a ranking has to find, and what it must not offer again."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.data.ratings import UNKNOWN, Ratings

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One user of a split. ``relevant`` are the items that a ranking can hold; ``num_relevant`` counts those it cannot as well."""

    user: int
    relevant: frozenset[int]
    num_relevant: int


def rows_of_people(data: Ratings, rows: Rows) -> dict[int, list[int]]:
    """In the order of their first rows."""
    found: dict[int, list[int]] = {}
    for person, row in zip(data.people[rows].tolist(), rows.tolist(), strict=True):
        found.setdefault(person, []).append(row)
    return found


def seen_before(data: Ratings, split: str) -> dict[int, frozenset[int]]:
    """By user: training items, and those of the validation split for the test split, which comes later."""
    rows = data.splits.train if split != "test" else np.concatenate([data.splits.train, data.splits.validation])
    by_user: dict[int, set[int]] = {}
    for user, item in zip(data.users[rows].tolist(), data.items[rows].tolist(), strict=True):
        if user != UNKNOWN and item != UNKNOWN:
            by_user.setdefault(user, set()).add(item)
    return {user: frozenset(items) for user, items in by_user.items()}


def wanted_in(data: Ratings, split: str, seen: dict[int, frozenset[int]]) -> list[Wanted]:
    """One entry per person of a split; users whom training does not know get the ranking that everybody like them gets.

    Items that training does not have can be in no ranking: they count as missed.
    """
    found = []
    for rows in rows_of_people(data, getattr(data.splits, split)).values():
        user, items = int(data.users[rows[0]]), data.items[rows].tolist()
        relevant = frozenset(items) - seen.get(user, frozenset()) - {UNKNOWN}
        num_relevant = len(relevant) + items.count(UNKNOWN)
        if num_relevant:
            found.append(Wanted(user, relevant, num_relevant))
    return found
