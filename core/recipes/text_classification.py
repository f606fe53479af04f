"""text-classification: a network that learns to tell texts, or pairs of texts, apart."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.recipes.sections.auto import BatchSize, LearningRate
from core.recipes.sections.data import ClassKnobs
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.fine_tuning import FineTuning
from core.recipes.sections.text import TokenizerKnobs, check_adversarial
from core.recipes.sections.training import ENGINE_METRICS, TrainingKnobs, check_shares
from core.recipes.sections.transformers import check_transformers
from core.recipes.text_models import Model, TextCnn
from core.spec import Dataset, JobSpec

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


class Training(TrainingKnobs):
    """Augmentation is drawn anew for each text in each step, from the seed alone, and applies to the training split only."""

    epochs: int = Field(default=10, ge=1, le=100_000)
    batch_size: BatchSize = Field(
        default=64, description="texts per optimiser step, over all ranks and micro-batches together; auto: what fits"
    )
    learning_rate: LearningRate = Field(default=1e-3, description="the peak; auto: found by a range test before the first step")
    warmup_epochs: float = Field(default=0.5, ge=0, le=10_000)
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest L2 norm of the gradient; null for none")
    loss: Literal["cross-entropy", "focal"] = Field(default="cross-entropy", description="focal: Lin et al. 2017 (arXiv:1708.02002)")
    focal_gamma: float = Field(default=2.0, ge=0, le=10, description="focal: how little sure texts count; 0 is cross-entropy")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
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


class TextClassificationSpec(JobSpec):
    """Trains a network on labelled texts and packages the best one with its tokenizer.

    A dataset by path is a table (.csv, .tsv, .jsonl, .json, .parquet), or a folder of such files named train, validation and
    test, with a column of texts and one of labels. A base model is a package of this recipe, of masked-language-modeling
    (family encoder), or a folder of the Transformers library (family transformers); its tokenizer comes with it.
    """

    summary: ClassVar[str] = "Text CNNs, LSTMs, GRUs and Transformer encoders on labelled texts, from scratch or fine-tuned"
    metrics: ClassVar[tuple[str, ...]] = METRICS

    recipe: Literal["text-classification"]
    dataset: Dataset
    data: Data = Data()
    model: Model = TextCnn()
    fine_tuning: FineTuning | None = None
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _can_be_shared_and_built(self) -> Self:
        check_shares(self, self.training)
        check_adversarial(self.training)
        check_transformers(self)
        return self
