"""tabular: a network that learns one column of a table from the others."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, Tag, model_validator

from core.recipes.sections.auto import BatchSize, LearningRate
from core.recipes.sections.data import ClassKnobs
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.families import by_family
from core.recipes.sections.trained import TrainedSpec
from core.recipes.sections.training import CLASS_LOSSES, ENGINE_METRICS, AdversarialMethod, ClassLoss, TrainingKnobs
from core.spec import Section, Strict

METRICS = (
    *ENGINE_METRICS,
    "accuracy",
    "samples_per_second",
    *(
        f"{split}_{name}"
        for split in ("validation", "test")
        for name in ("loss", "accuracy", "top5", "macro_f1", "mse", "rmse", "mae", "r2")
    ),
)

ColumnName = Annotated[str, Field(min_length=1, max_length=512)]
ColumnNames = Annotated[tuple[ColumnName, ...], Field(max_length=10_000)]


class Fold(Strict):
    """One of ``count`` parts of equal size; in classification every class is shared equally among them."""

    index: int = Field(ge=0, lt=100, description="which part is the test split, from 0")
    count: int = Field(ge=2, le=100)

    @model_validator(mode="after")
    def _index_is_one_of_them(self) -> Self:
        if self.index >= self.count:
            raise ValueError(f"fold {self.index} of {self.count}: folds are counted from 0")
        return self


class Data(ClassKnobs):
    """What a column is, is found out: numeric when at least 99 % of what stands in it are numbers (the rest are bad rows) and
    categorical otherwise, as are truth values. Nothing, NA, N/A, NaN, null and ? count as missing. Left out, with a note in the
    report: columns with one value only, and columns of text with another value in nine of ten rows or more. All that is
    learned from values (fills, bounds, scales, categories) is learned from the training split alone.
    """

    target_column: str | None = Field(
        default=None, max_length=512, description="null: one called target, label, class, species, outcome or y, else the last"
    )
    kind: Literal["auto", "classification", "regression"] = Field(
        default="auto", description="auto: regression when the target has numbers that are not whole, or more than 20 different ones"
    )
    ignored_columns: ColumnNames = ()
    numeric_columns: ColumnNames = Field(default=(), description="numeric whatever they look like; what is no number is a bad row")
    categorical_columns: ColumnNames = Field(default=(), description="categorical whatever they look like, such as codes")
    missing: Literal["impute", "drop"] = Field(default="impute", description="drop: rows that lack anything are left out, and counted")
    impute_numbers: Literal["median", "mean", "most_frequent", "constant"] = "median"
    impute_constant: float = Field(default=0.0, ge=-1e30, le=1e30, description="impute_numbers constant: what stands in")
    impute_categories: Literal["own", "most_frequent"] = Field(default="own", description="own: missing is a category like others")
    missing_indicators: bool = Field(default=True, description="one more input, 0 or 1, for each numeric column that lacks something")
    clip_outliers: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="numbers further beyond the quartiles than this many interquartile ranges are moved there; null: never",
    )
    scaling: Literal["standard", "quantile", "none"] = Field(
        default="standard", description="standard: mean 0, deviation 1; quantile: to a normal distribution by rank"
    )
    max_categories: int = Field(default=256, ge=1, le=1_000_000, description="of a column, the most frequent; the others are unknown")
    hash_buckets: int = Field(default=0, ge=0, le=1_000_000, description="categories beyond max_categories share this many; 0: unknown")
    fold: Fold | None = Field(default=None, description="k-fold cross-validation: what is tested on, instead of a share or a given split")

    @model_validator(mode="after")
    def _fold_decides_alone(self) -> Self:
        if self.fold is not None and self.split not in ("auto", "stratified", "ratio"):
            raise ValueError(f"fold says what is tested on, and so does split {self.split}; give one of them")
        return self


class Mlp(Section):
    """Linear layers with ReLU; categories by embedding. Numeric embeddings: Gorishniy et al. 2022 (arXiv:2203.05556)."""

    family: Literal["mlp"] = "mlp"
    width: int = Field(default=128, ge=1, le=8192)
    depth: int = Field(default=2, ge=1, le=64, description="hidden layers")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    numeric_embedding: Literal["none", "piecewise-linear", "periodic"] = Field(
        default="none", description="piecewise-linear: by quantiles of the training rows; periodic: sines with learned frequencies"
    )
    numeric_bins: int = Field(default=16, ge=2, le=512, description="pieces, or frequencies, of a numeric column")
    numeric_width: int = Field(default=16, ge=1, le=1024, description="of an embedded number")


class FTTransformer(Section):
    """A token for each column through a pre-norm Transformer: Gorishniy et al. 2021 (arXiv:2106.11959)."""

    family: Literal["ft-transformer"] = "ft-transformer"
    width: int = Field(default=64, ge=8, le=4096)
    depth: int = Field(default=3, ge=1, le=64)
    heads: int = Field(default=8, ge=1, le=256)
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1, description="inside the feed-forward layers")
    residual_dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared equally by {self.heads} heads")
        return self


Model = Annotated[
    Annotated[Mlp, Tag("<mlp>")] | Annotated[FTTransformer, Tag("<ft-transformer>")],
    by_family("mlp", "ft-transformer", default="mlp"),
]


class Training(TrainingKnobs):
    epochs: int = Field(default=50, ge=1, le=100_000)
    batch_size: BatchSize = Field(
        default=64, description="rows per optimiser step, over all ranks and micro-batches together; auto: what fits"
    )
    learning_rate: LearningRate = Field(default=2e-3, description="the peak; auto: found by a range test before the first step")
    loss: Literal["auto"] | ClassLoss | Literal["mse", "mae", "huber"] = Field(
        default="auto", description=f"auto: cross-entropy for classes, mse else; {CLASS_LOSSES}"
    )
    focal_gamma: float = Field(default=2.0, ge=0, le=10, description="focal: how little sure rows count; 0 is cross-entropy")
    huber_delta: float = Field(default=1.0, gt=0, le=1e6, description="huber: where it turns linear, in deviations of the target")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)

    settled_by_device: ClassVar[tuple[str, ...]] = (*TrainingKnobs.settled_by_device, "loss")


class Evaluation(EvaluationKnobs):
    metric: Literal["accuracy", "macro_f1", "loss", "mse", "rmse", "mae", "r2"] | None = Field(
        default=None, description="the validation metric that decides which weights are kept; null: accuracy, or mse for numbers"
    )


class TabularSpec(TrainedSpec):
    """Predicts one column of a table from the others: a class, or a number.

    A dataset by path is a .csv, .tsv, .jsonl, .json or .parquet file, or a folder with some of one kind (``train.csv``,
    ``test.csv`` say which rows are which).
    """

    summary: ClassVar[str] = "Classes or numbers from the columns of a table, with the preprocessing packaged"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    attacks: ClassVar[tuple[AdversarialMethod, ...]] = ("fgm",)
    allows_r_drop: ClassVar[bool] = True

    recipe: Literal["tabular"]
    data: Data = Data()
    model: Model = Mlp()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _kinds_agree(self) -> Self:
        """What is asked for by name must fit the kind, where that is named too."""
        kind, loss, metric = self.data.kind, self.training.loss, self.evaluation.metric
        if kind == "classification" and (loss in ("mse", "mae", "huber") or metric in ("mse", "rmse", "mae", "r2")):
            raise ValueError(f"classification has no loss {loss} or metric {metric}")
        if kind == "regression" and (loss in get_args(ClassLoss) or metric in ("accuracy", "macro_f1")):
            raise ValueError(f"regression has no loss {loss} or metric {metric}")
        return self
