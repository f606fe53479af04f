"""How a package is scored on labelled rows: a recipe's scorer is a file here and a line below."""

import importlib

from trainer.errors import InvalidData
from trainer.tools.scorers.scorer import NewScorer

# recipe -> "module:name", by name: a run imports the libraries of no other.
SCORERS: dict[str, str] = {
    "causal-language-modeling": "trainer.tools.scorers.language:NextTokens",
    "image-classification": "trainer.tools.scorers.classes:ImageClasses",
    "masked-language-modeling": "trainer.tools.scorers.language:MaskedTokens",
    "recommendation": "trainer.tools.scorers.recommendation:new_scorer",
    "speech-recognition": "trainer.tools.scorers.speech:Speech",
    "tabular": "trainer.tools.scorers.numbers:new_scorer",
    "text-classification": "trainer.tools.scorers.classes:TextClasses",
    "token-classification": "trainer.tools.scorers.tags:Tags",
}


def find_scorer(recipe: str) -> NewScorer:
    """Raises InvalidData for a recipe that has none."""
    if recipe not in SCORERS:
        raise InvalidData([f"models of recipe {recipe} cannot be scored; those of {', '.join(sorted(SCORERS))} can"])
    module, _, name = SCORERS[recipe].partition(":")
    found: NewScorer = getattr(importlib.import_module(module), name)
    return found
