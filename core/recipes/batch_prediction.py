"""batch-prediction: a packaged model's predictions for every row of a dataset."""

from typing import ClassVar, Literal

from pydantic import Field

from core.recipes.sections.tool import ToolSpec
from core.spec import BaseModelReference, Dataset, Section

TOOL_METRICS = ("num_rows", "num_bad_rows", "rows_per_second")


class Data(Section):
    """Rows need not have what the model is to tell."""

    on_bad_rows: Literal["report", "drop", "fail"] = Field(
        default="report",
        description="report: the line of a row that cannot be used says why; drop: it has no line; fail: the job ends with all listed",
    )


class Evaluation(Section):
    format: Literal["jsonl", "csv", "parquet"] = Field(
        default="jsonl", description="of the predictions; in csv and parquet, lists and objects are JSON in their cells"
    )
    batch_size: int = Field(default=64, ge=1, le=65_536, description="rows that the model sees at once")


class BatchPredictionSpec(ToolSpec):
    """Predicts, in the order of the dataset, for the rows of its tables, the lines of its texts, or its images or recordings.

    Each prediction carries the file that its row stands in and, in tables and texts, the row's number there: line 1 of a text,
    record 1 of a table is its header.
    """

    summary: ClassVar[str] = "A packaged model's predictions for every row of a dataset"
    metrics: ClassVar[tuple[str, ...]] = TOOL_METRICS

    recipe: Literal["batch-prediction"]
    dataset: Dataset
    base_model: BaseModelReference
    data: Data = Data()
    evaluation: Evaluation = Evaluation()
