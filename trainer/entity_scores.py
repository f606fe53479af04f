"""Entities of tagged words, and how many of them were found: strict, as the CoNLL shared task of 2003 counts.

An entity is a B- tag and the I- tags of the same type right behind it; an I- tag that continues nothing belongs to none.
One counts as found when type, first word and last word are the same.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Entity(NamedTuple):
    """Words ``start`` to ``end`` - 1."""

    type: str
    start: int
    end: int


def entities_of(tags: Sequence[str]) -> list[Entity]:
    found: list[Entity] = []
    open_type, start = None, 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        if open_type is not None and not (prefix == "I" and kind == open_type):
            found.append(Entity(open_type, start, place))
            open_type = None
        if prefix == "B":
            open_type, start = kind, place
    return found


def entity_scores(
    tags: Iterable[Sequence[str]], predictions: Iterable[Sequence[str]]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """``precision``, ``recall`` and ``f1`` over all entities, and the same for each type with ``support``, how many there are.

    Of nothing the share is 0, as in seqeval.
    """
    right: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for true, predicted in zip(tags, predictions, strict=True):
        ours, theirs = set(entities_of(true)), set(entities_of(predicted))
        wanted.update(entity.type for entity in ours)
        told.update(entity.type for entity in theirs)
        right.update(entity.type for entity in ours & theirs)
    types = sorted(wanted.keys() | told.keys())
    per_type = {kind: {**_shares(right[kind], told[kind], wanted[kind]), "support": wanted[kind]} for kind in types}
    return _shares(right.total(), told.total(), wanted.total()), per_type


def _shares(num_right: int, num_told: int, num_wanted: int) -> dict[str, float]:
    precision = num_right / num_told if num_told else 0.0
    recall = num_right / num_wanted if num_wanted else 0.0
    both = precision + recall
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / both if both else 0.0}
