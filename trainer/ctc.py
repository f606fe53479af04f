"""Connectionist temporal classification (Graves et al. 2006): letters as numbers, what can be spelled, and decoding.

N utterances, T frames, K letters; number 0 is the blank.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

BLANK = 0
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Letters:
    """``letters[n]`` is number n + 1."""

    letters: tuple[str, ...]

    @property
    def num_outputs(self) -> int:
        return len(self.letters) + 1

    def encode(self, text: str) -> list[int]:
        """Letters that training does not have are left out."""
        number_of = {letter: number for number, letter in enumerate(self.letters, 1)}
        return [number_of[letter] for letter in text if letter in number_of]

    def decode(self, numbers: Sequence[int]) -> str:
        return " ".join("".join(self.letters[number - 1] for number in numbers).split())


def frames_needed(numbers: Sequence[int]) -> int:
    """One for each letter, and a blank between two of the same."""
    return len(numbers) + sum(first == second for first, second in pairwise(numbers))


def greedy(best: Sequence[int]) -> list[int]:
    """From the best number of each frame: repeated ones are one, blanks are none."""
    return [number for number, before in zip(best, [BLANK, *best], strict=False) if number != before and number != BLANK]


def beam_search(log_probs: torch.Tensor, width: int) -> list[int]:
    """The likeliest letters, over all ways to spell them, as far as ``width`` prefixes tell (Hannun et al. 2014, arXiv:1408.2873).

    ``log_probs`` (T, K + 1). A prefix carries the probability of the ways that end in a blank and of those that do not.
    """
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, NEVER)}
    for frame in log_probs.tolist():
        candidates: dict[tuple[int, ...], tuple[float, float]] = {}
        likely = sorted(range(1, len(frame)), key=lambda number: -frame[number])[:width]
        for prefix, (blank, letter) in beams.items():
            both = _add(blank, letter)
            _extend(candidates, prefix, both + frame[BLANK], NEVER)
            if prefix:
                _extend(candidates, prefix, NEVER, letter + frame[prefix[-1]])
            for number in likely:
                before = blank if prefix and number == prefix[-1] else both
                _extend(candidates, (*prefix, number), NEVER, before + frame[number])
        best = sorted(candidates, key=lambda prefix: (-_add(*candidates[prefix]), prefix))[:width]
        beams = {prefix: candidates[prefix] for prefix in best}
    return list(next(iter(beams)))


def _extend(candidates: dict[tuple[int, ...], tuple[float, float]], prefix: tuple[int, ...], blank: float, letter: float) -> None:
    known = candidates.get(prefix, (NEVER, NEVER))
    candidates[prefix] = (_add(known[0], blank), _add(known[1], letter))


def _add(first: float, second: float) -> float:
    """log(exp(first) + exp(second))"""
    high, low = max(first, second), min(first, second)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))


def decode_all(log_probs: torch.Tensor, lengths: torch.Tensor, *, beam_width: int) -> list[list[int]]:
    """(N, T, K + 1) and the (N,) frames that count to the numbers of each utterance."""
    sizes = lengths.tolist()
    if beam_width == 1:
        return [greedy(best[:size]) for best, size in zip(log_probs.argmax(2).tolist(), sizes, strict=True)]
    return [beam_search(one[:size], beam_width) for one, size in zip(log_probs.cpu(), sizes, strict=True)]
