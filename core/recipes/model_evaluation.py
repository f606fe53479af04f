"""model-evaluation: a packaged model scored on labelled rows, by the metrics of its recipe's own test."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.recipes.batch_prediction import TOOL_METRICS
from core.recipes.sections.tool import ToolSpec
from core.spec import BaseModelReference, Dataset, Section

ColumnName = Annotated[str, Field(min_length=1, max_length=512)]

# What the recipes' tests measure, without the split.
SCORES = (
    *("loss", "accuracy", "macro_f1", "top5", "precision", "recall", "f1", "mse", "rmse", "mae", "r2"),
    *("recall_at_10", "ndcg_at_10", "wer", "cer", "perplexity", "bits_per_byte"),
)


class Data(Section):
    """Inputs are read as the package's own training data was."""

    split: Literal["all", "train", "validation", "test"] = Field(
        default="all", description="one that names of files or folders, or a column, give; nothing is drawn by chance here"
    )
    split_column: str = Field(default="split", max_length=128, description="holds train, validation or test")
    label_column: ColumnName | None = Field(
        default=None, description="what is right; null: where training had it, or where training would look for it"
    )
    on_bad_rows: Literal["fail", "drop"] = Field(
        default="fail", description="fail: the job ends with all of them listed; drop: it goes on without them, and counts them"
    )


class Evaluation(Section):
    batch_size: int = Field(default=64, ge=1, le=65_536, description="rows that the model sees at once")


class ModelEvaluationSpec(ToolSpec):
    """The metrics have plain names: ``accuracy``, ``f1``, ``wer``, ``rmse``, ``loss``, ``perplexity``, as the package's recipe has them."""

    summary: ClassVar[str] = "A packaged model's scores on a labelled dataset"
    metrics: ClassVar[tuple[str, ...]] = (*TOOL_METRICS, *SCORES)

    recipe: Literal["model-evaluation"]
    dataset: Dataset
    base_model: BaseModelReference
    data: Data = Data()
    evaluation: Evaluation = Evaluation()
