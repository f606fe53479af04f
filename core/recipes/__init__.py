"""The registry of recipes: a new one is a file beside this and a member of ``AnyJobSpec``."""

from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError

from core.errors import InvalidInput, Problem
from core.recipes.batch_prediction import BatchPredictionSpec
from core.recipes.causal_language_modeling import CausalLanguageModelingSpec
from core.recipes.dataset_preparation import DatasetPreparationSpec
from core.recipes.dataset_validation import DatasetValidationSpec
from core.recipes.image_classification import ImageClassificationSpec
from core.recipes.masked_language_modeling import MaskedLanguageModelingSpec
from core.recipes.model_evaluation import ModelEvaluationSpec
from core.recipes.model_export import ModelExportSpec
from core.recipes.recommendation import RecommendationSpec
from core.recipes.script import ScriptSpec
from core.recipes.scripted import ScriptedSpec
from core.recipes.speech_recognition import SpeechRecognitionSpec
from core.recipes.tabular import TabularSpec
from core.recipes.text_classification import TextClassificationSpec
from core.recipes.token_classification import TokenClassificationSpec
from core.spec import JobSpec

AnyJobSpec = Annotated[
    BatchPredictionSpec
    | CausalLanguageModelingSpec
    | DatasetPreparationSpec
    | DatasetValidationSpec
    | ImageClassificationSpec
    | ModelEvaluationSpec
    | ModelExportSpec
    | RecommendationSpec
    | ScriptSpec
    | ScriptedSpec
    | SpeechRecognitionSpec
    | TabularSpec
    | MaskedLanguageModelingSpec
    | TextClassificationSpec
    | TokenClassificationSpec,
    Field(discriminator="recipe"),
]

_ADAPTER: TypeAdapter[AnyJobSpec] = TypeAdapter(AnyJobSpec)
_MEMBERS: tuple[type[JobSpec], ...] = get_args(get_args(AnyJobSpec)[0])
RECIPES: dict[str, type[JobSpec]] = {get_args(member.model_fields["recipe"].annotation)[0]: member for member in _MEMBERS}


def parse_spec(text: str | bytes) -> AnyJobSpec:
    """The spec that this JSON text means, every default filled in.

    Raises InvalidInput with every problem at once, each with the JSON pointer of its place.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise InvalidInput(problems=problems_of(error)) from None


def problems_of(error: ValidationError) -> list[Problem]:
    """Pydantic's findings as problems; the tag that a union adds to a location is left out of the pointer."""
    return [
        Problem(pointer=_pointer(item["loc"]), message=_message(dict(item)), code=item["type"]) for item in error.errors(include_url=False)
    ]


def _pointer(location: tuple[int | str, ...]) -> str:
    keys = [str(part) for part in location]
    if keys and keys[0] in RECIPES:
        del keys[0]  # the tag of the recipe union, not a key
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys if not key.startswith("<"))


def _message(item: dict[str, Any]) -> str:
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"recipe must be one of {', '.join(sorted(RECIPES))}"
    return str(item["msg"]).removeprefix("Value error, ")
