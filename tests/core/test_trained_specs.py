"""What must hold between the sections of every recipe that trains on a dataset."""

import json
from typing import Any

import pytest

from core.errors import InvalidInput
from core.recipes import RECIPES, parse_spec
from core.recipes.sections.tool import ToolSpec
from core.recipes.sections.trained import TrainedSpec

TRAINED = {name: spec for name, spec in RECIPES.items() if issubclass(spec, TrainedSpec)}
METHODS = ("fgsm", "pgd", "fgm")


def refusal(recipe: str, **changes: Any) -> str:
    """What a spec of this recipe with these changes is refused with; empty when it is not."""
    spec = {"recipe": recipe, "dataset": {"path": "/data"}, "resources": {"devices_per_node": 2, "accelerator": "cpu"}, **changes}
    try:
        parse_spec(json.dumps(spec))
    except InvalidInput as error:
        return " ".join(problem.message for problem in error.problems)
    return ""


def test_every_recipe_but_tools_and_scripts_is_checked_as_one_that_trains() -> None:
    tools = {name for name, spec in RECIPES.items() if issubclass(spec, ToolSpec)}
    assert RECIPES.keys() - TRAINED.keys() - tools == {"script", "scripted"}


@pytest.mark.parametrize("recipe", TRAINED)
def test_ranks_share_a_step_equally_or_the_spec_is_refused(recipe: str) -> None:
    assert refusal(recipe) == ""
    assert refusal(recipe, training={"batch_size": 12, "accumulate": 3}) == ""
    assert "batch_size 12 cannot be shared equally by 8" in refusal(recipe, training={"batch_size": 12, "accumulate": 4})
    assert "2 ranks cannot form groups of training.tensor_parallel 3" in refusal(recipe, training={"tensor_parallel": 3})
    assert "fp16 needs a GPU" in refusal(recipe, training={"precision": "fp16"})
    assert refusal(recipe, training={"batch_size": "auto", "learning_rate": "auto"}) == ""


@pytest.mark.parametrize("recipe", TRAINED)
def test_what_of_a_base_model_is_trained_needs_a_base_model(recipe: str) -> None:
    for train in ("all", "head", "last_layers", "lora"):
        assert "there is no base_model" in refusal(recipe, fine_tuning={"train": train})
    base = {"base_model": {"path": "/model"}}
    assert refusal(recipe, fine_tuning={"train": "lora"}, **base) == ""
    assert "lora does not go with" in refusal(recipe, fine_tuning={"train": "lora"}, training={"tensor_parallel": 2}, **base)


@pytest.mark.parametrize("recipe", TRAINED)
@pytest.mark.parametrize("method", METHODS)
def test_an_attack_that_has_nothing_to_move_is_refused_before_anything_runs(recipe: str, method: str) -> None:
    said = refusal(recipe, training={"adversarial": {"method": method}})
    assert said == "" if method in TRAINED[recipe].attacks else f"adversarial {method} cannot move" in said


@pytest.mark.parametrize("recipe", TRAINED)
def test_r_drop_is_refused_where_there_are_no_classes_to_compare(recipe: str) -> None:
    said = refusal(recipe, training={"r_drop": 1.0})
    assert said == "" if TRAINED[recipe].allows_r_drop else "training.r_drop compares classes" in said


def test_a_model_of_the_transformers_library_needs_a_config_or_a_base_model() -> None:
    for recipe in ("causal-language-modeling", "speech-recognition", "text-classification", "token-classification"):
        assert "needs a config or a base_model" in refusal(recipe, model={"family": "transformers"})
        assert refusal(recipe, model={"family": "transformers"}, base_model={"path": "/model"}) == ""
