"""How texts become tokens. Recipes that read text have it as ``data.tokenizer``; a base model brings its own tokenizer instead."""

from typing import Literal

from pydantic import Field

from core.spec import Section


class TokenizerKnobs(Section):
    kind: Literal["auto", "bpe", "wordpiece", "word", "char"] = Field(
        default="auto",
        description="bpe: byte-level pairs; wordpiece: as BERT; word: whole words; char: characters; auto: by the model, wordpiece for "
        "transformers, word for the others",
    )
    vocab_size: int = Field(default=16_000, ge=300, le=1_000_000, description="tokens, special ones included, at most")
    max_length: int = Field(default=128, ge=4, le=131_072, description="tokens of a text, special ones included; longer ones are cut")
    lowercase: bool = Field(default=True, description="case is no matter")
    min_frequency: int = Field(
        default=2, ge=1, le=10_000, description="rarer words become [UNK], of which the model so learns something; rarer pieces fall apart"
    )
