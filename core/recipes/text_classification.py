"""text-classification: a network that learns to tell texts, or pairs of texts, apart."""

from typing import ClassVar, Literal

from pydantic import Field

from core.recipes.sections.auto import BatchSize, LearningRate
from core.recipes.sections.data import ClassKnobs
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.text import TokenizerKnobs
from core.recipes.sections.trained import TrainedSpec
from core.recipes.sections.training import ENGINE_METRICS, AdversarialMethod, ClassLossKnobs
from core.recipes.text_models import Model, TextCnn

METRICS = (
    *ENGINE_METRICS,
    "accuracy",
    "samples_per_second",
    *(f"{split}_{name}" for split in ("validation", "test") for name in ("loss", "accuracy", "top5", "macro_f1")),
)
COLUMN = "null: the first of these that there is: "


class Data(ClassKnobs):
    text_column: str | None = Field(
        default=None, min_length=1, max_length=128, description=f"{COLUMN}text, sentence, content, review, document, body; or a usual pair"
    )
    text_pair_column: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="the second text of a row; null: none, or that of a usual pair (sentence1 and sentence2, premise and hypothesis, ...)",
    )
    label_column: str | None = Field(
        default=None, min_length=1, max_length=128, description=f"{COLUMN}label, labels, class, target, category, sentiment"
    )
    tokenizer: TokenizerKnobs = TokenizerKnobs()


class Training(ClassLossKnobs):
    """Augmentation is drawn anew for each text in each step, from the seed alone, and applies to the training split only."""

    epochs: int = Field(default=10, ge=1, le=100_000)
    batch_size: BatchSize = Field(
        default=64, description="texts per optimiser step, over all ranks and micro-batches together; auto: what fits"
    )
    learning_rate: LearningRate = Field(default=1e-3, description="the peak; auto: found by a range test before the first step")
    warmup_epochs: float = Field(default=0.5, ge=0, le=10_000)
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest L2 norm of the gradient; null for none")
    token_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="augmentation: share of tokens left out (Wei and Zou 2019, arXiv:1901.11196)"
    )
    swap: float = Field(default=0.0, ge=0, lt=1, description="augmentation: share of tokens that change places (the same)")
    span_masking: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="augmentation: share of tokens that become [MASK], in spans (Joshi et al. 2019, arXiv:1907.10529)",
    )


class Evaluation(EvaluationKnobs):
    metric: Literal["accuracy", "top5", "macro_f1", "loss"] | None = Field(
        default=None, description="the validation metric that decides which weights are kept; null: accuracy"
    )


class TextClassificationSpec(TrainedSpec):
    """Trains a network on labelled texts and packages the best one with its tokenizer.

    A dataset by path is a table (.csv, .tsv, .jsonl, .json, .parquet), or a folder of such files named train, validation and
    test, with a column of texts and one of labels. A base model is a package of this recipe, of masked-language-modeling
    (family encoder), or a folder of the Transformers library (family transformers); its tokenizer comes with it.
    """

    summary: ClassVar[str] = "Text CNNs, LSTMs, GRUs and Transformer encoders on labelled texts, from scratch or fine-tuned"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    attacks: ClassVar[tuple[AdversarialMethod, ...]] = ("fgm",)
    allows_r_drop: ClassVar[bool] = True

    recipe: Literal["text-classification"]
    data: Data = Data()
    model: Model = TextCnn()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
