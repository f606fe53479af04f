"""Edit distance against a definition that is slow and plain, and CTC decoding against all ways to spell a text."""

import itertools
import math
import random
from functools import cache

import torch
from torch.nn import functional

from trainer.ctc import Letters, beam_search, decode_all, frames_needed, greedy
from trainer.edit_distance import count_errors, edit_distance


def by_definition(found: str, right: str) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (found[i - 1] != right[j - 1]))

    return distance(len(found), len(right))


def test_distances_are_those_of_the_definition() -> None:
    draw = random.Random(0)
    for _ in range(200):
        one, other = ("".join(draw.choices("abc", k=draw.randrange(7))) for _ in range(2))
        assert edit_distance(one, other) == by_definition(one, other)


def test_known_distances() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance(["the", "cat", "sat"], ["the", "cat", "sat", "down"]) == 1


def test_errors_are_added_up_over_utterances() -> None:
    """One word of three is missing, one of two is wrong by a letter."""
    assert count_errors(["a b", "cat x"], ["a b c", "cut x"]) == (2, 5, 3, 10)


def likeliest_by_force(log_probs: torch.Tensor) -> list[int]:
    totals: dict[tuple[int, ...], float] = {}
    num_frames, num_outputs = log_probs.shape
    for path in itertools.product(range(num_outputs), repeat=num_frames):
        text: tuple[int, ...] = tuple(greedy(path))
        totals[text] = totals.get(text, 0.0) + math.exp(sum(log_probs[frame, number].item() for frame, number in enumerate(path)))
    return list(max(totals.items(), key=lambda item: item[1])[0])


def test_a_wide_beam_finds_the_likeliest_text() -> None:
    differs = 0
    for seed in range(30):
        log_probs = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)).log_softmax(1)
        best = likeliest_by_force(log_probs)
        assert beam_search(log_probs, 50) == best
        differs += greedy(log_probs.argmax(1).tolist()) != best
    assert differs, "greedy decoding is not the same thing"


def test_a_likeliest_text_is_likely_for_the_loss_too() -> None:
    log_probs = torch.randn(6, 4, generator=torch.Generator().manual_seed(3)).log_softmax(1)
    found, other = beam_search(log_probs, 50), greedy(log_probs.argmax(1).tolist())

    def loss(numbers: list[int]) -> float:
        return functional.ctc_loss(
            log_probs[:, None], torch.tensor([numbers]), torch.tensor([6]), torch.tensor([len(numbers)]), reduction="sum"
        ).item()

    assert loss(found) <= loss(other) + 1e-6


def test_greedy_merges_repeats_unless_a_blank_stands_between() -> None:
    assert greedy([0, 1, 1, 0, 1, 2, 2, 0]) == [1, 1, 2]
    assert greedy([]) == []


def test_frames_that_a_text_needs() -> None:
    letters = Letters(("a", "b"))

    assert [frames_needed(letters.encode(text)) for text in ("", "ab", "aa", "abbb")] == [0, 2, 3, 6]


def test_letters_there_and_back() -> None:
    letters = Letters((" ", "a", "b"))

    assert letters.encode("ab ba?") == [2, 3, 1, 3, 2]
    assert letters.decode([1, 2, 1, 1, 3, 1]) == "a b"
    assert letters.num_outputs == 4


def test_padding_is_not_decoded() -> None:
    log_probs = functional.one_hot(torch.tensor([[1, 0, 2, 2], [2, 1, 1, 1]]), 3).float().log()

    assert decode_all(log_probs, torch.tensor([2, 4]), beam_width=1) == [[1], [2, 1]]
    assert decode_all(log_probs.clamp(min=-50), torch.tensor([2, 4]), beam_width=4) == [[1], [2, 1]]
