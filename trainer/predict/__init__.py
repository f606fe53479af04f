"""Predictions from a package: ``python -m trainer.predict MODEL_DIR INPUT``. A recipe's predictor is a file here and a line below."""

import importlib

from trainer.predict.predictor import BadInput, Predictor

# recipe -> "module:class", by name, so that a prediction imports what it needs and nothing else.
PREDICTORS: dict[str, str] = {
    "token-classification": "trainer.predict.token_classification:Predictor",
    "causal-language-modeling": "trainer.predict.causal_language_modeling:Predictor",
    "image-classification": "trainer.predict.image_classification:Predictor",
    "tabular": "trainer.predict.tabular:Predictor",
    "text-classification": "trainer.predict.text_classification:Predictor",
    "masked-language-modeling": "trainer.predict.masked_language_modeling:Predictor",
    "recommendation": "trainer.predict.recommendation:Predictor",
    "speech-recognition": "trainer.predict.speech_recognition:Predictor",
}


def predictor_class(recipe: str) -> type[Predictor]:
    """Raises BadInput when no predictor is known for the recipe."""
    if recipe not in PREDICTORS:
        raise BadInput(f"no predictor for recipe {recipe!r}; there are {', '.join(sorted(PREDICTORS)) or 'none'}")
    module, _, name = PREDICTORS[recipe].partition(":")
    found: type[Predictor] = getattr(importlib.import_module(module), name)
    return found
