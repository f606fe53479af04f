"""How far a text is from what it should be: edits, and the rates of words and letters that speech is judged by."""

from collections.abc import Hashable, Iterable, Sequence


def edit_distance(found: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """The fewest insertions, deletions and substitutions that make one the other (Levenshtein 1966)."""
    before = list(range(len(right) + 1))
    for row, item in enumerate(found, 1):
        now = [row]
        for column, other in enumerate(right, 1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (item != other)))
        before = now
    return before[-1]


def count_errors(found: Iterable[str], right: Iterable[str]) -> tuple[int, int, int, int]:
    """Word edits, words, letter edits, letters; of the right texts, spaces included."""
    totals = [0, 0, 0, 0]
    for one, other in zip(found, right, strict=True):
        words, letters = edit_distance(one.split(), other.split()), edit_distance(one, other)
        totals = [total + num for total, num in zip(totals, (words, len(other.split()), letters, len(other)), strict=True)]
    return totals[0], totals[1], totals[2], totals[3]
