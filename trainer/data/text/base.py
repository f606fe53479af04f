"""What a base model brings besides its weights: its tokenizer and its sizes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.text.tokenizers import FILE
from trainer.errors import InvalidData

OWN_ENCODERS = ("encoder-masked-lm", "encoder-classifier", "encoder-tagger")
HEADS = ("family", "num_classes", "pooling", "head_dropout")  # what an encoder's architecture says beside the encoder itself


@dataclass(frozen=True, slots=True)
class BaseModel:
    """``architecture`` is that of a package of ours; ``transformers`` the config of a folder of that library. One of them is None."""

    tokenizer: Path | None
    architecture: dict[str, Any] | None
    transformers: dict[str, Any] | None

    def encoder(self) -> dict[str, Any]:
        """The sizes of its encoder, as ``trainer.models.encoder.Encoder`` names them. InvalidData when it is no encoder of ours."""
        family = (self.architecture or {}).get("family", "of the Transformers library")
        if self.architecture is None or family not in OWN_ENCODERS:
            raise InvalidData([f"model.family is encoder, and the base model is {family}; its own family would fit"])
        return {name: value for name, value in self.architecture.items() if name not in HEADS}


def read_base(folder: str | None) -> BaseModel | None:
    """None without a base model. InvalidData when there is no config.json that can be read."""
    if folder is None:
        return None
    path = Path(folder)
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidData([f"the base model has no usable config.json: {error}"]) from error
    tokenizer = path / FILE if (path / FILE).exists() else None
    own = config.get("architecture")
    return BaseModel(tokenizer=tokenizer, architecture=own, transformers=config if own is None else None)


def most_tokens(config: dict[str, Any]) -> int | None:
    """How long a text a model of the Transformers library can take; None where its config sets no limit."""
    limit = config.get("max_position_embeddings") or config.get("n_positions")
    if limit is None:
        return None
    # RoBERTa and its kin count positions from behind the padding's number.
    return int(limit) - (int(config.get("pad_token_id", 1)) + 1 if "roberta" in str(config.get("model_type")) else 0)
