"""model-evaluation: a package on the rows that it was tested on has the scores of that test, whatever its recipe."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from core.recipes import RECIPES
from core.states import Reason
from tests.e2e import tiny_data
from tests.trainer.launching import Attempt
from tests.trainer.packages import CASES, Packages, rows_of_the_test
from trainer.predict import PREDICTORS
from trainer.tools.scorers import SCORERS, find_scorer

SAME = [name for name in CASES if name not in ("masked-language-modeling", "recommendation-ranked")]


def metrics_of(attempt: Attempt) -> dict[str, float]:
    attempt.expect(Reason.COMPLETED)
    result = attempt.result()
    assert result is not None
    return result.metrics


def rows_of(attempt: Attempt) -> list[dict[str, str]]:
    with (attempt.run_dir.artifacts / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_recipe_that_predicts_has_a_scorer() -> None:
    assert SCORERS.keys() == PREDICTORS.keys()
    for recipe in SCORERS:
        assert callable(find_scorer(recipe))


@pytest.mark.parametrize("name", SAME)
def test_on_its_test_rows_a_package_has_the_scores_of_its_test(name: str, packages: Packages, tmp_path: Path) -> None:
    trained = packages(name)
    whole = trained.recipe == "causal-language-modeling"  # where texts end depends on how many files there are
    data = trained.data if whole else rows_of_the_test(trained, tmp_path / "rows")
    attempt = packages.use("model-evaluation", trained, data, tmp_path, data={"split": "test" if whole else "all"})

    metrics = metrics_of(attempt)
    test = trained.read("metrics.json")["test"]
    assert {name: metrics[name] for name in test} == pytest.approx(test, rel=1e-4, abs=1e-6)
    assert metrics.keys() <= set(RECIPES["model-evaluation"].metrics)
    written = json.loads((attempt.run_dir.artifacts / "metrics.json").read_text())
    assert {name: written[name] for name in metrics} == metrics


def test_masked_tokens_are_scored(packages: Packages, tmp_path: Path) -> None:
    """Masks are drawn anew, so the score is near that of the test."""
    trained = packages("masked-language-modeling")
    metrics = metrics_of(packages.use("model-evaluation", trained, trained.data, tmp_path, data={"split": "test"}))

    assert metrics["num_rows"] == 40
    assert metrics["loss"] == pytest.approx(trained.read("metrics.json")["test"]["loss"], rel=0.2)


def test_rankings_are_scored_by_user_without_what_training_had(packages: Packages, tmp_path: Path) -> None:
    trained = packages("recommendation-ranked")
    data = tiny_data.write_csv(tmp_path / "new.csv", [("user_id", "item_id"), (4, 102), (4, 104), (5, 103), ("nobody", 999)])
    attempt = packages.use("model-evaluation", trained, data, tmp_path)

    metrics = metrics_of(attempt)
    assert 0 <= metrics["recall_at_10"] <= 1
    assert metrics["num_rows"] == 4
    rows = rows_of(attempt)
    assert rows[-1]["user"] == "nobody"
    assert all(len(json.loads(row["prediction"])) <= 10 for row in rows)


def test_the_split_that_is_named_is_scored_alone(packages: Packages, tmp_path: Path) -> None:
    trained = packages("token-classification")
    everything, test = (
        metrics_of(packages.use("model-evaluation", trained, trained.data, tmp_path / split, data={"split": split}))
        for split in ("all", "test")
    )

    assert (everything["num_rows"], test["num_rows"]) == (160, 20)
    assert test["f1"] == pytest.approx(trained.read("metrics.json")["test"]["f1"])


@pytest.mark.parametrize(
    ("cells", "data", "message"),
    [
        ([("a fine film", "purple"), ("dull", "bad")], {}, "row 2: the model does not know class 'purple'"),
        ([("a fine film", ""), ("dull", "bad")], {}, "row 2: column label: it is empty"),
        ([("a fine film", "good")], {"label_column": "stars"}, "there is no column 'stars' with its class"),
        ([("a fine film", "good")], {"split": "test"}, "the dataset says of no row that it is of the test split"),
    ],
)
def test_what_cannot_be_scored_is_said_with_its_place(
    cells: list[Any], data: dict[str, Any], message: str, packages: Packages, tmp_path: Path
) -> None:
    table = tiny_data.write_csv(tmp_path / "new.csv", [("text", "label"), *cells])
    attempt = packages.use("model-evaluation", packages("text-classification"), table, tmp_path, data=data)

    assert message in attempt.expect(Reason.INVALID_DATA).message


def test_bad_rows_may_be_left_out_and_are_counted(packages: Packages, tmp_path: Path) -> None:
    cells = [("a fine film", "purple"), ("dull", "bad"), ("", "good")]
    table = tiny_data.write_csv(tmp_path / "new.csv", [("text", "label"), *cells])
    attempt = packages.use("model-evaluation", packages("text-classification"), table, tmp_path, data={"on_bad_rows": "drop"})

    metrics = metrics_of(attempt)
    assert (metrics["num_rows"], metrics["num_bad_rows"]) == (1, 2)
    assert [row["row"] for row in rows_of(attempt)] == ["3"]


def test_a_folder_that_is_no_package_is_invalid_data(packages: Packages, tmp_path: Path) -> None:
    trained = packages("text-classification")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"format": 1}')
    attempt = packages.use("model-evaluation", type(trained)(trained.recipe, broken, trained.data), trained.data, tmp_path)

    assert "the base model cannot be used" in attempt.expect(Reason.INVALID_DATA).message
