"""Recommenders: ratings read and split by time; baselines, rankings and losses by hand."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.recipes import parse_spec
from core.recipes.recommendation import Data, RecommendationSpec
from tests.trainer.made_up_tables import tastes, write
from trainer.data.findings import Findings
from trainer.data.interactions import seen_before, wanted_in
from trainer.data.rating_baselines import plain_means, rmse_of, shrunk_effects
from trainer.data.ratings import Ratings, read_ratings
from trainer.data.splits import Splits
from trainer.errors import InvalidData
from trainer.models import build
from trainer.parallel import Ranks
from trainer.ranking_scores import RankingTally, recall_and_ndcg, top_items
from trainer.tasks.recommendation_goals import RankingGoal, RatingGoal
from trainer.tasks.task import Draw

DRAW = Draw(seed=0, epoch=0, step=0, part=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "data" / "items.csv", ["item_id", "title"], [["i1", "A"]])
    return write(tmp_path / "data" / "ratings.csv", ["userId", "item_id", "rating", "timestamp"], tastes()).parent


def read(folder: Path, **knobs: Any) -> tuple[Ratings, Findings]:
    findings = Findings()
    return read_ratings(folder, Data.model_validate_json(json.dumps(knobs)), seed=0, findings=findings), findings


def by_hand(ratings: Sequence[tuple[int, int, float]], num_train: int) -> Ratings:
    users, items, values = (np.array(part) for part in zip(*ratings, strict=True))
    rows = np.arange(len(ratings))
    splits = Splits(train=rows[:num_train], validation=rows[num_train:num_train], test=rows[num_train:])
    names = [str(number) for number in range(1, int(max(users.max(), items.max())) + 1)]
    return Ratings(True, None, users, items, values.astype(float), users, names, names, splits)  # type: ignore[arg-type]


def spec_of(**sections: Any) -> RecommendationSpec:
    spec = parse_spec(json.dumps({"recipe": "recommendation", "dataset": {"path": "/x"}, **sections}))
    assert isinstance(spec, RecommendationSpec)
    return spec


def test_columns_are_found_and_the_latest_rows_are_tested_on(folder: Path) -> None:
    data, _ = read(folder)

    assert data.explicit
    assert (data.columns.user, data.columns.item, data.columns.rating, data.columns.time) == ("userId", "item_id", "rating", "timestamp")
    assert (len(data.splits.train), len(data.splits.validation), len(data.splits.test)) == (384, 48, 48)
    assert data.splits.train.max() < data.splits.validation.min() <= data.splits.validation.max() < data.splits.test.min()


def test_users_and_items_that_training_does_not_have_are_number_0_and_counted(tmp_path: Path) -> None:
    rows = [[f"u{number % 5}", f"i{number % 7}", 3, number] for number in range(20)] + [["new", "i1", 3, 98], ["u1", "newer", 3, 99]]
    write(tmp_path / "d" / "x.csv", ["user", "item", "rating", "time"], rows)
    data, findings = read(tmp_path / "d")

    assert data.users[data.splits.test].tolist()[0] == 0
    assert data.items[data.splits.test].tolist()[1] == 0
    assert findings.counts["test rows whose user training does not have"] == 1
    assert findings.counts["test rows whose item training does not have"] == 1
    assert data.user_names == ["u0", "u1", "u2", "u3", "u4"]


def test_of_a_user_and_an_item_the_latest_row_counts(tmp_path: Path) -> None:
    rows = [[f"u{number}", "i", 1, 50] for number in range(9)] + [["u0", "i", 9, 70], ["u0", "i", 4, 60]]
    write(tmp_path / "d" / "x.csv", ["user", "item", "rating", "time"], rows)
    data, findings = read(tmp_path / "d")

    assert findings.counts["rows of a user and an item that have a later one dropped"] == 2
    assert sorted(data.ratings.tolist()) == [1.0] * 8 + [9.0]


def test_bad_rows_and_missing_columns_are_told(tmp_path: Path) -> None:
    write(
        tmp_path / "d" / "x.csv", ["user", "item", "rating"], [["u", "i", "nice"], ["", "i", "3"], *[["u", f"i{n}", "1"] for n in range(9)]]
    )

    with pytest.raises(InvalidData) as refusal:
        read(tmp_path / "d")
    assert "x.csv, row 2, column rating: 'nice' is not a finite number" in str(refusal.value)
    assert "x.csv, row 3, column user: it is empty" in str(refusal.value)
    with pytest.raises(InvalidData, match=r"no column is named like a item|say data\.item_column"):
        read(write(tmp_path / "e" / "x.csv", ["user", "thing"], [["a", "b"]]).parent)


def test_implicit_feedback_keeps_what_was_liked(folder: Path) -> None:
    data, findings = read(folder, feedback="implicit", liked_from=6)

    assert not data.explicit
    assert findings.counts["rows with a rating below liked_from left out"] == sum(row[2] < 6 for row in tastes())
    assert set(data.ratings.tolist()) == {1.0}


def test_baselines_by_hand() -> None:
    """Mean 4; user 1 is 1 above it, user 2 as much below; item 1 is 2 above it, item 2 as much below."""
    data = by_hand([(1, 1, 7), (1, 2, 3), (2, 1, 5), (2, 2, 1), (1, 1, 7), (0, 2, 3)], 4)
    plain = plain_means(data)

    assert (plain.mean, plain.users.tolist()[:3], plain.items.tolist()[:3]) == (4, [0, 1, -1], [0, 2, -2])
    assert rmse_of(plain, data, data.splits.test) == pytest.approx(math.sqrt(0.5))
    assert shrunk_effects(data, 2.0, 0.0).users.tolist()[:3] == pytest.approx([0, 0.5, -0.5])
    assert shrunk_effects(data, 1e9, 1e9).predict(np.array([1]), np.array([1]), 0, 10) == pytest.approx([4], abs=1e-6)


def test_recall_and_ndcg_by_hand() -> None:
    recall, ndcg = recall_and_ndcg([5, 6, 7], {6, 9}, 3)

    assert recall == pytest.approx(1 / 3)
    assert ndcg == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3) + 1 / 2))
    assert recall_and_ndcg(list(range(10)), set(range(20)), 20) == (1.0, 1.0)
    assert top_items(torch.tensor([[1.0, 3.0, 1.0, 3.0]]), 3).tolist() == [[1, 3, 0]]
    tally = RankingTally()
    tally.add_user([1], {1}, 1)
    tally.add_user([2], {1}, 1)
    tally.add_losses(torch.tensor([1.0, 3.0]))
    assert tally.total(Ranks(rank=0, world_size=1, device=torch.device("cpu"))) == {"loss": 2.0, "recall_at_10": 0.5, "ndcg_at_10": 0.5}


def test_rankings_are_judged_by_what_is_new_and_unknown_items_count_as_missed() -> None:
    data = by_hand([(1, 1, 1), (1, 2, 1), (2, 3, 1), (1, 3, 1), (1, 2, 1), (1, 0, 1), (0, 2, 1), (2, 3, 1)], 3)
    seen = seen_before(data, "validation")

    found = [(one.user, set(one.relevant), one.num_relevant) for one in wanted_in(data, "test", seen)]

    assert found == [(1, {3}, 2), (0, {2}, 1)]


def test_penalties_of_an_epoch_count_each_user_and_item_once() -> None:
    data = by_hand([(1, 1, 1), (1, 2, 2), (2, 1, 3), (2, 2, 4), (1, 3, 5), (1, 1, 5)], 5)
    goal = RatingGoal(data, spec_of(model={"user_bias_l2": 2.0, "item_bias_l2": 3.0, "vector_l2": 5.0}))
    batch = goal.batch(data.splits.train, DRAW)

    assert batch["user_penalties"].sum(0).tolist() == pytest.approx([2 * 2.0, 2 * 5.0])
    assert batch["item_penalties"].sum(0).tolist() == pytest.approx([3 * 3.0, 3 * 5.0])
    model = build({"family": "matrix-factorization", "num_users": 4, "num_items": 4, "width": 2, "mean": 3.0})
    torch.nn.init.constant_(model.user_biases.weight, 0.5)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        scores, squares = model(batch["users"], batch["items"], batch["user_penalties"], batch["item_penalties"])
    vectors = sum(
        float(model.get_parameter(f"{kind}_vectors.weight")[1:num].detach().square().sum()) for kind, num in (("user", 3), ("item", 4))
    )
    assert squares.detach().sum().item() == pytest.approx(2 * 2.0 * 0.25 + 5.0 * vectors, rel=1e-5)
    assert float(goal.losses(scores, batch)[0]) == pytest.approx((float(scores[0, 0]) - 1) ** 2, rel=1e-5)


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_in_batch_losses_by_hand(loss: str) -> None:
    """Rows 0 and 2 have the same item: neither is a negative of the other."""
    data = by_hand([(1, 1, 1), (2, 2, 1), (3, 1, 1), (3, 2, 1)], 3)
    goal = RankingGoal(data, spec_of(training={"loss": loss, "correct_sampling": loss == "softmax"}))
    batch = goal.batch(data.splits.train, DRAW)
    scores = torch.tensor([[1.0, 0.5, 9.0], [0.2, 0.7, 0.1], [9.0, 0.3, 2.0]])

    found = goal.losses(scores, batch)

    logs = {1: math.log(2 / 3), 2: math.log(1 / 3)}
    if loss == "softmax":
        first = -math.log(math.exp(1 - logs[1]) / (math.exp(1 - logs[1]) + math.exp(0.5 - logs[2])))
    else:
        first = math.log1p(math.exp(-1)) + math.log1p(math.exp(0.5))
    assert found[0].item() == pytest.approx(first, rel=1e-5)
    second = [math.log1p(math.exp(0.2)), math.log1p(math.exp(0.1))]
    if loss == "bce":
        assert found[1].item() == pytest.approx(math.log1p(math.exp(-0.7)) + sum(second) / 2, rel=1e-5)


def test_drawn_negatives_depend_on_the_place_alone() -> None:
    data = by_hand([(1, item, 1) for item in range(1, 9)] + [(1, 9, 1)], 8)
    goal = RankingGoal(data, spec_of(training={"negatives": "popularity", "num_negatives": 5}))
    first, again = (goal.batch(data.splits.train[:4], DRAW) for _ in range(2))
    other = goal.batch(data.splits.train[:4], Draw(seed=0, epoch=0, step=1, part=0))

    assert first["items"].shape == (4, 6)
    assert torch.equal(first["items"], again["items"])
    assert not torch.equal(first["items"], other["items"])
    assert first["items"][:, 1:].min() >= 1, "the unknown item is never drawn, nor is one that training does not have"
    assert first["items"].max() <= 8


@pytest.mark.parametrize("family", ["matrix-factorization", "two-tower"])
def test_own_items_and_common_items_give_the_same_scores(family: str) -> None:
    more = {"depth": 2, "normalise": True} if family == "two-tower" else {}
    torch.manual_seed(0)
    model = build({"family": family, "num_users": 5, "num_items": 6, "width": 4, **more}).eval()
    users, items = torch.tensor([1, 2, 0]), torch.tensor([1, 4, 5, 0])

    common, own = model(users, items), model(users, items.repeat(3, 1))

    assert torch.allclose(common, own, atol=1e-6)
    assert common[2].abs().max() == 0, "an unknown user has no taste"
    assert common[:, 3].abs().max() == 0
