"""From the knobs of a language model, what its data decides and its base model to the architecture that is built and packaged."""

from typing import Any

from core.recipes.causal_language_modeling import Gpt
from core.recipes.sections.transformers import Transformers
from trainer.data.text.base import BaseModel, most_tokens
from trainer.errors import InvalidData

OWN = "gpt"


def decoder_architecture(model: Gpt | Transformers, base: BaseModel | None, *, vocabulary: int, context: int) -> dict[str, Any]:
    """For ``trainer.models.build``. Sizes are the base model's where there is one. InvalidData when it is of another family, or
    sees fewer tokens than ``context``."""
    if isinstance(model, Transformers):
        return _theirs(model, base, vocabulary=vocabulary, context=context)
    own = {**model.model_dump(), "vocabulary": vocabulary, "context": context}
    if base is None:
        return own
    found = (base.architecture or {"family": "transformers"}).get("family")
    if base.architecture is None or found != OWN:
        raise InvalidData([f"the base model is of family {found}, and model.family is {OWN}; they must be the same"])
    _check_context(base.architecture["context"], context)
    return {**base.architecture, "dropout": model.dropout}


def _theirs(model: Transformers, base: BaseModel | None, *, vocabulary: int, context: int) -> dict[str, Any]:
    config = model.config or (base.transformers if base else None)
    if config is None or (base is not None and base.transformers is None):
        raise InvalidData(["model.family is transformers, and the base model is none of that library; its own family would fit"])
    _check_context(most_tokens(config), context)
    sizes = {} if base is not None else {"vocab_size": vocabulary}
    return {"family": "transformers", "task": "causal-lm", "config": {**config, **sizes}}


def _check_context(longest: int | None, context: int) -> None:
    if longest is not None and longest < context:
        raise InvalidData([f"data.context_length is {context}, and the model sees {longest} tokens at once"])
