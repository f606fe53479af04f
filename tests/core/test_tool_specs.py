"""Specs of tools that read datasets: what is refused, and where a refusal points."""

import json
from typing import Any, get_args

import pytest

from core.errors import InvalidInput, Problem
from core.recipes import RECIPES, parse_spec
from core.recipes.dataset_preparation import STEPS, FixEncoding
from core.recipes.dataset_validation import HINTS_OF_TASK, OF_EVERY_TASK, ColumnHints, Task
from core.recipes.sections.trained import TrainedSpec

DATASET = {"dataset": {"name": "mine", "version": 3}}


def validation(**data: Any) -> Any:
    return parse_spec(json.dumps({"recipe": "dataset-validation", **DATASET, "data": data}))


def preparation(*steps: dict[str, Any]) -> Any:
    return parse_spec(json.dumps({"recipe": "dataset-preparation", **DATASET, "data": {"steps": steps}}))


def refusal(*steps: dict[str, Any]) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        preparation(*steps)
    return caught.value.problems


def test_a_validation_knows_every_recipe_that_takes_data() -> None:
    trained = {name for name, spec in RECIPES.items() if issubclass(spec, TrainedSpec)}
    assert set(get_args(Task)) - {"auto"} == trained == HINTS_OF_TASK.keys()


def test_every_hint_is_a_knob_of_the_recipes_that_know_it() -> None:
    for task, hints in HINTS_OF_TASK.items():
        section = RECIPES[task].model_fields["data"].annotation
        assert section is not None
        assert {f"{hint}_column" for hint in (*hints, *OF_EVERY_TASK)} <= section.model_fields.keys()
    known = {hint for hints in HINTS_OF_TASK.values() for hint in hints} | set(OF_EVERY_TASK)
    assert known == ColumnHints.model_fields.keys()


def test_a_hint_that_means_nothing_to_the_task_is_refused() -> None:
    assert validation(task="tabular", columns={"target": "y"}).data.columns.given() == {"target": "y"}
    with pytest.raises(InvalidInput, match=r"columns\.user means nothing to tabular"):
        validation(task="tabular", columns={"user": "id"})
    with pytest.raises(InvalidInput, match="/data/max_findings"):
        validation(max_findings=-1)


def test_a_tool_runs_on_one_device_and_on_a_dataset() -> None:
    spec = {"recipe": "dataset-validation", **DATASET, "resources": {"devices_per_node": 2}}
    with pytest.raises(InvalidInput, match="devices_per_node must be 1"):
        parse_spec(json.dumps(spec))
    with pytest.raises(InvalidInput, match="/dataset"):
        parse_spec('{"recipe": "dataset-validation"}')


def test_a_stored_spec_reads_as_it_was_written() -> None:
    spec = preparation({"do": "fix_encoding", "from": "cp1252"}, {"do": "split", "by": "time", "column": "when", "validation": 0})
    assert isinstance(spec.data.steps[0], FixEncoding)
    assert '"from":"cp1252"' in spec.model_dump_json()
    assert parse_spec(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("step", "pointer", "message"),
    [
        ({"do": "polish"}, "/data/steps/1", "do must be one of drop_duplicates"),
        ({}, "/data/steps/1", "do must be one of drop_duplicates"),
        ({"do": "impute", "columns": ["a"], "by": "constant"}, "/data/steps/1", "by constant needs a value"),
        ({"do": "impute", "columns": ["a"], "value": 3}, "/data/steps/1", "by constant needs a value"),
        ({"do": "split", "test": 1.0}, "/data/steps/1/test", "less than 1"),
        ({"do": "split", "test": 0.5, "validation": 0.5}, "/data/steps/1", "nothing to train on"),
        ({"do": "split", "test": 0, "validation": 0}, "/data/steps/1", "splits nothing"),
        ({"do": "sample"}, "/data/steps/1", "either rows or fraction"),
        ({"do": "sample", "rows": 3, "fraction": 0.5}, "/data/steps/1", "either rows or fraction"),
        ({"do": "augment"}, "/data/steps/1", "either images or text or audio"),
        ({"do": "augment", "images": {}}, "/data/steps/1/images", "at least one of flip, crop and rotate"),
        ({"do": "augment", "text": {"column": "t"}}, "/data/steps/1/text", "both 0"),
        ({"do": "map_columns"}, "/data/steps/1", "at least one of rename, keep and drop"),
        ({"do": "map_columns", "keep": ["a"], "drop": ["b"]}, "/data/steps/1", "either keep or drop"),
        ({"do": "clip_outliers", "columns": ["a"], "colums": ["b"]}, "/data/steps/1/colums", "not permitted"),
        ({"do": "fix_encoding"}, "/data", "fix_encoding must be the first step"),
    ],
)
def test_a_wrong_step_is_refused_at_its_place(step: dict[str, Any], pointer: str, message: str) -> None:
    problems = refusal({"do": "drop_duplicates"}, step)
    assert [problem.pointer for problem in problems] == [pointer]
    assert message in problems[0].message


def test_a_preparation_without_steps_is_refused_and_every_wrong_step_is_named() -> None:
    assert "there is nothing to do" in refusal()[0].message
    pointers = [problem.pointer for problem in refusal({"do": "sample"}, {"do": "polish"}, {"do": "normalise", "columns": ["a"]})]
    assert pointers == ["/data/steps/0", "/data/steps/1"]


def test_every_step_is_in_the_schema() -> None:
    schema = json.dumps(RECIPES["dataset-preparation"].model_json_schema())
    assert all(f'"const": "{name}"' in schema for name in STEPS)
