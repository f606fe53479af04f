"""masked-language-modeling: an encoder that learns what is missing from texts, as a start for classifiers and taggers."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.recipes.sections.auto import BatchSize, LearningRate
from core.recipes.sections.data import DataKnobs
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.text import TokenizerKnobs
from core.recipes.sections.trained import TrainedSpec
from core.recipes.sections.training import ENGINE_METRICS, AdversarialMethod, TrainingKnobs
from core.recipes.text_models import EncoderSize

METRICS = (
    *ENGINE_METRICS,
    "accuracy",
    "tokens_per_second",
    *(f"{split}_{name}" for split in ("validation", "test") for name in ("loss", "accuracy", "perplexity")),
)


class Data(DataKnobs):
    text_column: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="of a table; null: the first of text, sentence, content, review, document, body",
    )
    packing: Literal["blocks", "lines"] = Field(
        default="blocks", description="blocks: texts one after the other, cut every max_length tokens; lines: a row for each text"
    )
    tokenizer: TokenizerKnobs = TokenizerKnobs()


class Model(EncoderSize):
    family: Literal["encoder"] = "encoder"


class Training(TrainingKnobs):
    """Masks are drawn anew in each epoch (Devlin et al. 2018, arXiv:1810.04805); those of validation and test are fixed by the seed."""

    epochs: int = Field(default=20, ge=1, le=100_000)
    batch_size: BatchSize = Field(
        default=32, description="rows of max_length tokens, or lines, per optimiser step, over all ranks and micro-batches together"
    )
    learning_rate: LearningRate = Field(default=1e-3, description="the peak; auto: found by a range test before the first step")
    warmup_epochs: float = Field(default=1.0, ge=0, le=10_000)
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest L2 norm of the gradient; null for none")
    masked_share: float = Field(default=0.15, gt=0, lt=1, description="share of tokens that are to be told, one of a row at least")
    mask_token_share: float = Field(default=0.8, ge=0, le=1, description="of those, how many the model sees as [MASK]")
    random_token_share: float = Field(
        default=0.1, ge=0, le=1, description="how many it sees as any other token; the rest it sees as they are"
    )

    @model_validator(mode="after")
    def _shares_are_of_one_whole(self) -> Self:
        if self.mask_token_share + self.random_token_share > 1:
            raise ValueError("mask_token_share and random_token_share are shares of one whole")
        return self


class Evaluation(EvaluationKnobs):
    metric: Literal["loss", "accuracy", "perplexity"] | None = Field(
        default=None, description="the validation metric that decides which weights are kept; null: loss"
    )


class MaskedLanguageModelingSpec(TrainedSpec):
    """Trains a Transformer encoder to tell masked tokens and packages it with its tokenizer.

    A dataset by path is a .txt file with a text on each line, a table (.csv, .tsv, .jsonl, .json, .parquet) with a column of
    texts, or a folder of either. The package is a base model for text-classification and token-classification; one of this
    recipe may in turn start from it, and takes its tokenizer and the encoder's sizes from it.
    """

    summary: ClassVar[str] = "BERT-style pretraining of a Transformer encoder on plain text"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    attacks: ClassVar[tuple[AdversarialMethod, ...]] = ("fgm",)
    allows_r_drop: ClassVar[bool] = True
    trains_on_rows: ClassVar[bool] = False

    recipe: Literal["masked-language-modeling"]
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
