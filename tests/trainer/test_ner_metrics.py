"""Entities are scored as seqeval scores them, strictly; and a CRF computes what enumerating all sequences computes."""

import itertools
import random
import warnings

import pytest
import torch
from seqeval.metrics import accuracy_score, classification_report
from seqeval.scheme import IOB2

from trainer.entity_scores import Entity, entities_of, entity_scores
from trainer.models.crf import FORBIDDEN, best_tags, bio_steps, log_likelihood

NAMES = ["O", "B-creative-work", "I-creative-work", "B-person", "I-person"]


def test_entities_begin_with_b_and_go_on_with_i_of_their_type() -> None:
    tags = ["I-a", "B-a", "I-a", "B-a", "I-b", "O", "B-b", "I-b"]
    assert entities_of(tags) == [Entity("a", 1, 3), Entity("a", 3, 4), Entity("b", 6, 8)]


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_seqevals_strict_ones_on_any_tags(seed: int) -> None:
    """Also on tags that break the scheme, which models without constraints may give."""
    draw = random.Random(seed)
    lengths = [draw.randrange(1, 12) for _ in range(draw.choice([1, 3, 40]))]
    true = [[draw.choice(NAMES) for _ in range(length)] for length in lengths]
    told = [[tag if draw.random() < 0.7 else draw.choice(NAMES) for tag in tags] for tags in true]
    with warnings.catch_warnings(action="ignore"):  # it tells of types without entities
        report = classification_report(true, told, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    overall, per_type = entity_scores(true, told)
    expected = report.pop("micro avg")
    assert overall == pytest.approx({"precision": expected["precision"], "recall": expected["recall"], "f1": expected["f1-score"]})
    types = {name: row for name, row in report.items() if not name.endswith(" avg")}
    assert per_type.keys() == types.keys()
    for name, row in types.items():
        own = per_type[name]
        assert [own["precision"], own["recall"], own["f1"], own["support"]] == pytest.approx(list(row.values()))


def test_nothing_found_is_nothing_and_no_error() -> None:
    overall, per_type = entity_scores([["O", "B-a"]], [["O", "O"]])
    assert overall == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert per_type == {"a": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}}
    assert entity_scores([["O"]], [["O"]]) == ({"precision": 0.0, "recall": 0.0, "f1": 0.0}, {})
    assert accuracy_score([["O", "B-a"]], [["O", "O"]]) == 0.5


def score_by_hand(emissions: torch.Tensor, steps: torch.Tensor, tags: tuple[int, ...]) -> float:
    num_tags = emissions.shape[1]
    total = steps[num_tags, tags[0]] + steps[num_tags + 1, tags[-1]]
    total = total + sum(emissions[place, tag] for place, tag in enumerate(tags))
    return float(total + sum(steps[one, another] for one, another in itertools.pairwise(tags)))


def test_a_crf_agrees_with_all_sequences_counted_one_by_one() -> None:
    torch.manual_seed(0)
    emissions, steps = torch.randn(2, 4, 3), torch.randn(5, 3)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    tags = torch.tensor([[0, 2, 1, 1], [2, 0, -100, -100]])
    found, best = log_likelihood(emissions, steps, tags, mask), best_tags(emissions, steps, mask)
    for row, length in enumerate([4, 2]):
        scores = {way: score_by_hand(emissions[row], steps, way) for way in itertools.product(range(3), repeat=length)}
        own = scores[tuple(tags[row, :length].tolist())]
        assert found[row].item() == pytest.approx(own - torch.tensor(list(scores.values())).logsumexp(0).item(), abs=1e-4)
        assert tuple(best[row, :length].tolist()) == max(scores, key=lambda way: scores[way])
        assert best[row, length:].tolist() == [0] * (4 - length)


def test_no_i_tag_is_told_that_continues_nothing() -> None:
    steps = bio_steps(2)
    allowed = {(NAMES[one], NAMES[two]) for one in range(5) for two in range(5) if steps[one, two] > FORBIDDEN}
    assert ("O", "I-person") not in allowed
    assert ("B-creative-work", "I-person") not in allowed
    assert {("B-person", "I-person"), ("I-person", "I-person"), ("I-person", "B-person"), ("O", "B-person")} <= allowed
    torch.manual_seed(1)
    best = best_tags(torch.randn(64, 9, 5) * 5, steps, torch.ones(64, 9, dtype=torch.bool))
    for row in best.tolist():
        for before, tag in itertools.pairwise(["O", *(NAMES[number] for number in row)]):
            assert not tag.startswith("I-") or before[2:] == tag[2:]
