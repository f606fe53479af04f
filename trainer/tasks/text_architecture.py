"""From the knobs of a text classifier, what its data decides and its base model to the architecture that is built and packaged."""

import inspect
from typing import Any

from torch import nn

from core.recipes.sections.transformers import Transformers
from core.recipes.text_models import Encoder, Model, Recurrent, TextCnn
from trainer.data.text.base import BaseModel, most_tokens
from trainer.data.text.tokenizers import Tokenizer
from trainer.errors import InvalidData

FREE = ("dropout", "embedding_dropout")  # what a new model may have otherwise than its base: no weight depends on it


def architecture_of(model: Model, base: BaseModel | None, *, tokenizer: Tokenizer, classes: list[str], max_length: int) -> dict[str, Any]:
    """For ``trainer.models.build``. InvalidData where the base model is of another family."""
    vocab_size, num_classes = tokenizer.vocab_size, len(classes)
    match model:
        case Transformers():
            return transformers_of(model.config, base, tokenizer=tokenizer, classes=classes)
        case Encoder():
            head = {"num_classes": num_classes, "pooling": model.pooling, "head_dropout": model.head_dropout}
            return {"family": "encoder-classifier", **head, **encoder_of(model, base, vocab_size=vocab_size, max_length=max_length)}
        case TextCnn():
            own = {**model.model_dump(mode="json"), "vocab_size": vocab_size, "num_classes": num_classes}
        case Recurrent():
            knobs = model.model_dump(mode="json", exclude={"family"})
            own = {"family": "recurrent", "cell": model.family, **knobs, "vocab_size": vocab_size, "num_classes": num_classes}
    return own if base is None else _like(base, own)


def encoder_of(model: Any, base: BaseModel | None, *, vocab_size: int, max_length: int) -> dict[str, Any]:
    """The encoder's own part: ``model`` has the knobs of ``EncoderSize``; sizes are the base model's where there is one."""
    sizes = ("width", "num_layers", "num_heads", "hidden", "norm")
    free = {"dropout": model.dropout, "drop_path": model.stochastic_depth}
    if base is not None:
        return {**base.encoder(), **free}
    return {"vocab_size": vocab_size, "max_length": max_length, **{name: getattr(model, name) for name in sizes}, **free}


def transformers_of(config: dict[str, Any] | None, base: BaseModel | None, *, tokenizer: Tokenizer, classes: list[str]) -> dict[str, Any]:
    """``config`` is the spec's, which goes before the base model's."""
    config = config or (base.transformers if base else None)
    if config is None:
        raise InvalidData(["model.family is transformers, and the base model is none of that library; its own family would fit"])
    names = {"id2label": dict(enumerate(classes)), "label2id": {name: number for number, name in enumerate(classes)}}
    if base is None or config.get("pad_token_id") is None:
        config = {**config, "pad_token_id": tokenizer.pad_id}
    if base is None:
        config = {**config, "vocab_size": tokenizer.vocab_size}
    kept = {name: value for name, value in config.items() if name not in ("num_labels", *names)}
    return {"family": "transformers", "task": "sequence-classification", "config": kept, "num_labels": len(classes), **names}


def takes_types(model: nn.Module) -> bool:
    """Whether the model can be told which text of a pair a token is of."""
    inner: Any = getattr(model, "model", None)
    if isinstance(inner, nn.Module):  # of the Transformers library: some take the argument and know one type only
        several = getattr(getattr(inner, "config", None), "type_vocab_size", 0) > 1
        return several and "token_type_ids" in inspect.signature(inner.forward).parameters
    return "types" in inspect.signature(model.forward).parameters


def longest_text(model: Model, base: BaseModel | None) -> int | None:
    """How many tokens the model can take; None where it does not matter."""
    if base is not None and base.architecture is not None:
        return base.architecture.get("max_length")
    if isinstance(model, Transformers):
        return most_tokens(model.config or (base.transformers if base else None) or {})
    return None


def _like(base: BaseModel, own: dict[str, Any]) -> dict[str, Any]:
    theirs = base.architecture or {"family": "transformers"}
    for name in ("family", "cell"):
        if theirs.get(name) != own.get(name):
            raise InvalidData([f"the base model is of family {theirs[name]}, and model.family is {own[name]}; they must be the same"])
    return {**theirs, **{name: own[name] for name in FREE if name in own}, "num_classes": own["num_classes"]}
