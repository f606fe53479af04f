"""Networks that read texts, and their knobs."""

from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from core.recipes.sections.families import by_family
from core.recipes.sections.transformers import Transformers
from core.spec import Section

DROPOUT = "share of the last layer's inputs that is left out in each step"
EMBEDDING = "numbers per token"
EMBEDDING_DROPOUT = "share of the embedded tokens' numbers that is left out in each step"


class TextCnn(Section):
    """After Kim 2014 (arXiv:1408.5882): convolutions over a few tokens each, their answers pooled, one linear layer."""

    family: Literal["text-cnn"] = "text-cnn"
    embedding: int = Field(default=128, ge=4, le=4096, description=EMBEDDING)
    widths: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(
        default=(1, 2, 3), min_length=1, max_length=16, description="tokens that a convolution sees at once, one entry for each"
    )
    channels: int = Field(default=64, ge=1, le=4096, description="of each convolution")
    pooling: Literal["max", "sum", "both"] = Field(
        default="both", description="of a channel's answers the strongest, as Kim has it; or their sum, by which evidence adds up; or both"
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description=DROPOUT)
    embedding_dropout: float = Field(default=0.5, ge=0, lt=1, description=EMBEDDING_DROPOUT)


class Recurrent(Section):
    embedding: int = Field(default=128, ge=4, le=4096, description=EMBEDDING)
    width: int = Field(default=128, ge=4, le=4096, description="units of a layer, in each direction")
    num_layers: int = Field(default=1, ge=1, le=16)
    bidirectional: bool = True
    pooling: Literal["max", "mean", "last"] = Field(default="max", description="what becomes of the states; last: those at the ends")
    dropout: float = Field(default=0.5, ge=0, lt=1, description=f"{DROPOUT}, and of what goes from layer to layer")
    embedding_dropout: float = Field(default=0.3, ge=0, lt=1, description=EMBEDDING_DROPOUT)


class Lstm(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    family: Literal["lstm"]


class Gru(Recurrent):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078)."""

    family: Literal["gru"]


class EncoderSize(Section):
    """A Transformer encoder after BERT (arXiv:1810.04805); 12 layers, 12 heads and width 768 are BERT-base."""

    width: int = Field(default=128, ge=8, le=16_384)
    num_layers: int = Field(default=4, ge=1, le=200)
    num_heads: int = Field(default=4, ge=1, le=256)
    hidden: int | None = Field(default=None, ge=8, le=65_536, description="units between the two linear layers; null: four times the width")
    norm: Literal["pre", "post"] = Field(default="pre", description="layer norms before the branches (steadier) or after them (as BERT)")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="in the embedding, the attention and behind each branch")
    stochastic_depth: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of texts for which the last block is left out, rising from 0 at the first (Huang et al. 2016)",
    )

    @model_validator(mode="after")
    def _width_divides_by_the_heads(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} cannot be shared equally by {self.num_heads} heads")
        return self


class Encoder(EncoderSize):
    """With a base model, width, layers, heads, hidden and norm are the base model's."""

    family: Literal["encoder"]
    pooling: Literal["first", "mean", "max"] = Field(default="mean", description="what becomes of the tokens; first: [CLS] alone, as BERT")
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description=DROPOUT)


Model = Annotated[
    Annotated[TextCnn, Tag("<text-cnn>")]
    | Annotated[Lstm, Tag("<lstm>")]
    | Annotated[Gru, Tag("<gru>")]
    | Annotated[Encoder, Tag("<encoder>")]
    | Annotated[Transformers, Tag("<transformers>")],
    by_family("text-cnn", "lstm", "gru", "encoder", "transformers", default="text-cnn"),
]
