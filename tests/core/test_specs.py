"""What a user may submit, and how a refusal tells them what is wrong."""

import json
from typing import Any

import pytest

from core.errors import InvalidInput
from core.recipes import RECIPES, parse_spec
from core.recipes.image_classification import ImageClassificationSpec
from core.recipes.scripted import ScriptedSpec
from core.states import Reason

DIGITS: dict[str, Any] = {"recipe": "image-classification", "dataset": {"builtin": "digits"}}


def problems(**changes: Any) -> dict[str, str]:
    """The pointers and messages that a digits spec with these changes is refused with."""
    with pytest.raises(InvalidInput) as caught:
        parse_spec(json.dumps({**DIGITS, **changes}))
    return {problem.pointer: problem.message for problem in caught.value.problems}


def test_a_recipe_picks_its_own_spec_and_fills_in_every_default() -> None:
    spec = parse_spec(json.dumps(DIGITS))
    assert isinstance(spec, ImageClassificationSpec)
    assert (spec.training.epochs, spec.resources.devices_per_node, spec.deterministic) == (20, 1, False)
    assert isinstance(parse_spec('{"recipe": "scripted"}'), ScriptedSpec)


def test_a_spec_written_out_and_read_again_is_the_same() -> None:
    spec = parse_spec(json.dumps({**DIGITS, "retry": {"on": ["numeric"]}, "labels": {"team": "vision"}}))
    assert parse_spec(spec.model_dump_json()) == spec
    assert spec.retry.on == (Reason.NUMERIC,)


def test_every_problem_is_told_at_once_with_its_pointer() -> None:
    found = problems(typo=1, training={"epochs": 0, "optimiser": "sgd"}, resources={"devices_per_node": "two"})
    assert found.keys() == {"/typo", "/training/epochs", "/training/optimiser", "/resources/devices_per_node"}
    assert found["/training/epochs"] == "Input should be greater than or equal to 1"


@pytest.mark.parametrize(
    ("text", "pointer", "message"),
    [
        ("{", "", "Invalid JSON"),
        ("[]", "", "should be an object"),
        ("{}", "", f"recipe must be one of {', '.join(sorted(RECIPES))}"),
        ('{"recipe": "alchemy"}', "", f"recipe must be one of {', '.join(sorted(RECIPES))}"),
        ('{"recipe": "image-classification"}', "/dataset", "Field required"),
    ],
)
def test_text_that_is_no_spec_is_refused_with_what_would_be(text: str, pointer: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_spec(text)
    assert caught.value.problems[0].pointer == pointer
    assert message in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"dataset": {"path": "relative"}}, "/dataset/path"),
        ({"dataset": {"path": "/a\0b"}}, "/dataset/path"),
        ({"dataset": {"builtin": "imagenet"}}, "/dataset/builtin"),
        ({"dataset": {}}, "/dataset"),
        ({"base_model": {"job": "job_1"}}, "/base_model/job"),
        ({"model": {"depth": 9}}, "/model"),
        ({"model": {"family": "transformer"}}, "/model"),
        ({"model": {"family": "vgg", "depth": 12}}, "/model/depth"),
        ({"model": {"family": "vit", "width": 100, "heads": 3}}, "/model"),
        ({"data": {"image_size": 2}}, "/data/image_size"),
        ({"data": {"image_size": "large"}}, "/data/image_size"),
        ({"training": {"batch_size": 0}}, "/training/batch_size"),
        ({"training": {"progressive": {"size": 1.0}}}, "/training/progressive/size"),
        ({"resources": {"nodes": 0}}, "/resources/nodes"),
        ({"resources": {"devices_per_node": True}}, "/resources/devices_per_node"),
        ({"training": {"learning_rate": "0.1"}}, "/training/learning_rate"),
        ({"retry": {"on": ["node_lost"]}}, "/retry"),
        ({"labels": {"a b": "c"}}, "/labels/a b/[key]"),
        ({"name": "new\nline"}, "/name"),
        ({"seed": -1}, "/seed"),
        ({"priority": 101}, "/priority"),
        ({"version": 2}, "/version"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(changes: dict[str, Any], pointer: str) -> None:
    assert list(problems(**changes)) == [pointer]


def test_numbers_that_are_not_finite_are_no_numbers() -> None:
    with pytest.raises(InvalidInput):
        parse_spec('{"recipe": "scripted", "training": {"step_seconds": NaN}}')


def test_a_deterministic_job_leaves_nothing_to_the_node() -> None:
    (message,) = problems(deterministic=True, training={"precision": "auto"}).values()
    assert "resources.accelerator" in message
    assert "training.precision" in message
    fixed = {**DIGITS, "deterministic": True, "resources": {"accelerator": "cpu"}}
    assert parse_spec(json.dumps(fixed)).deterministic


def test_a_family_says_which_knobs_a_model_has() -> None:
    def family(**model: Any) -> str:
        spec = parse_spec(json.dumps({**DIGITS, "model": model, "training": {"batch_size": "auto", "learning_rate": "auto"}}))
        assert isinstance(spec, ImageClassificationSpec)
        assert parse_spec(spec.model_dump_json()) == spec
        return spec.model.family

    named = [family(family=name) for name in ("alexnet", "vgg", "googlenet", "resnet", "resnet9", "vit")]
    assert named == ["alexnet", "vgg", "googlenet", "resnet", "resnet9", "vit"]
    assert family(depth=50) == "resnet"


def test_a_spec_cannot_be_changed_once_it_is_read() -> None:
    spec = parse_spec(json.dumps(DIGITS))
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_describes_itself(recipe: str) -> None:
    spec = RECIPES[recipe]
    assert spec.summary
    assert spec.metrics or recipe == "script", "a script writes what it likes"
    assert "properties" in spec.model_json_schema()
