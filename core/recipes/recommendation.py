"""recommendation: which items a user would like, and how much."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, Tag, model_validator

from core.recipes.sections.auto import BatchSize, LearningRate
from core.recipes.sections.data import DataKnobs, SplitKind
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.families import by_family
from core.recipes.sections.trained import TrainedSpec
from core.recipes.sections.training import ENGINE_METRICS, AdversarialMethod, TrainingKnobs
from core.spec import Section

METRICS = (
    *ENGINE_METRICS,
    "samples_per_second",
    *(f"{split}_{name}" for split in ("validation", "test") for name in ("loss", "rmse", "mae", "recall_at_10", "ndcg_at_10")),
)

ColumnName = Annotated[str, Field(min_length=1, max_length=512)]


class Data(DataKnobs):
    """A row is one user with one item. Where a user has an item twice, the later row counts. Users and items that training does
    not have are scored by what is known: the mean and the bias of the other."""

    split: SplitKind = Field(
        default="auto",
        description="auto: given where files or a column say so, else time where there is a column of times, else ratio",
    )
    user_column: ColumnName | None = Field(
        default=None, description="null: one called user, user_id, userId, uid, customer_id or reviewer_id"
    )
    item_column: ColumnName | None = Field(
        default=None, description="null: one called item, item_id, movie_id, product_id, book_id, song_id, article_id, iid or asin"
    )
    rating_column: ColumnName | None = Field(default=None, description="null: one called rating, score, stars or value; may be absent")
    time_column: ColumnName | None = Field(
        default=None, description="null: one called timestamp, time, date, datetime or created_at; may be absent"
    )
    feedback: Literal["auto", "explicit", "implicit"] = Field(
        default="auto", description="explicit: ratings are predicted; implicit: items are ranked; auto: explicit where there are ratings"
    )
    liked_from: float | None = Field(
        default=None, ge=-1e9, le=1e9, description="implicit: rows with a lower rating are left out; null: whatever was rated was liked"
    )


class MatrixFactorization(Section):
    """mean + user bias + item bias + user vector . item vector (Koren et al. 2009). Each penalty is ``l2`` times the square of a
    bias, or of a vector's length, once per user and item: those with few rows are held back most."""

    family: Literal["matrix-factorization"] = "matrix-factorization"
    width: int = Field(default=16, ge=1, le=4096, description="of the vectors")
    user_bias_l2: float = Field(default=3.0, ge=0, le=1e6)
    item_bias_l2: float = Field(default=5.0, ge=0, le=1e6)
    vector_l2: float = Field(default=30.0, ge=0, le=1e6)


class TwoTower(Section):
    """A network for users, one for items, and the product of what they give (Covington et al. 2016; Yi et al. 2019)."""

    family: Literal["two-tower"] = "two-tower"
    width: int = Field(default=64, ge=1, le=4096, description="of embeddings, layers and outputs")
    depth: int = Field(default=1, ge=0, le=32, description="layers of each tower behind its embedding")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    normalise: bool = Field(default=False, description="outputs of length 1; the product is divided by temperature")
    temperature: float = Field(default=0.1, gt=0, le=10)


Model = Annotated[
    Annotated[MatrixFactorization, Tag("<matrix-factorization>")] | Annotated[TwoTower, Tag("<two-tower>")],
    by_family("matrix-factorization", "two-tower", default="matrix-factorization"),
]


class Training(TrainingKnobs):
    epochs: int = Field(default=20, ge=1, le=100_000)
    batch_size: BatchSize = Field(
        default=512, description="rows per optimiser step, over all ranks and micro-batches together; auto: what fits"
    )
    learning_rate: LearningRate = Field(default=5e-3, description="the peak; auto: found by a range test before the first step")
    weight_decay: float = Field(default=0.0, ge=0, le=10, description="decoupled; matrix factorisation has penalties of its own")
    loss: Literal["softmax", "bce"] = Field(
        default="softmax", description="implicit: against the negatives all at once, or each for itself; explicit is squared error"
    )
    negatives: Literal["in-batch", "uniform", "popularity"] = Field(
        default="in-batch",
        description="implicit: the other items of the micro-batch, or items drawn evenly, or by how often training has them",
    )
    num_negatives: int = Field(default=64, ge=1, le=65_536, description="per row, where they are drawn")
    correct_sampling: bool = Field(default=True, description="softmax: frequent negatives count less (logQ; Yi et al. 2019)")


class Evaluation(EvaluationKnobs):
    metric: Literal["rmse", "mae", "loss", "recall_at_10", "ndcg_at_10"] | None = Field(
        default=None, description="the validation metric that decides which weights are kept; null: rmse, or ndcg_at_10 for implicit"
    )


class RecommendationSpec(TrainedSpec):
    """Learns from who rated, bought or saw what. Ratings are scored by rmse and mae; rankings by recall and NDCG among all items
    that the user did not have before.

    A dataset by path is a table (.csv, .tsv, .jsonl, .json, .parquet), or a folder with some; of a folder with several kinds
    of tables those count whose name begins with ratings, interactions, events or reviews.
    """

    summary: ClassVar[str] = "Ratings predicted or items ranked, by matrix factorisation or two towers"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    attacks: ClassVar[tuple[AdversarialMethod, ...]] = ("fgm",)

    recipe: Literal["recommendation"]
    data: Data = Data()
    model: Model = MatrixFactorization()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _metric_fits_the_feedback(self) -> Self:
        feedback, metric = self.data.feedback, self.evaluation.metric
        if (feedback == "explicit" and metric in ("recall_at_10", "ndcg_at_10")) or (feedback == "implicit" and metric in ("rmse", "mae")):
            raise ValueError(f"{feedback} feedback has no metric {metric}")
        return self
