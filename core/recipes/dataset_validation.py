"""dataset-validation: reads a dataset as its recipe would, says what is wrong with it and what it is like."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.recipes.sections.tool import ToolSpec
from core.spec import Dataset, Section

ColumnName = Annotated[str, Field(min_length=1, max_length=128)]
Task = Literal[
    "auto",
    "causal-language-modeling",
    "image-classification",
    "masked-language-modeling",
    "recommendation",
    "speech-recognition",
    "tabular",
    "text-classification",
    "token-classification",
]
HINTS_OF_TASK: dict[str, tuple[str, ...]] = {
    "causal-language-modeling": ("text", "prompt", "completion", "messages"),
    "image-classification": ("image", "label", "label_name"),
    "masked-language-modeling": ("text",),
    "recommendation": ("user", "item", "rating", "time"),
    "speech-recognition": ("audio", "text"),
    "tabular": ("target",),
    "text-classification": ("text", "text_pair", "label"),
    "token-classification": ("tokens", "tags"),
}
OF_EVERY_TASK = ("split",)


class ColumnHints(Section):
    """Names of columns where they are not the usual ones. Each is the recipe's own knob of that name with ``_column`` behind it."""

    text: ColumnName | None = None
    text_pair: ColumnName | None = None
    label: ColumnName | None = None
    label_name: ColumnName | None = None
    target: ColumnName | None = None
    tokens: ColumnName | None = None
    tags: ColumnName | None = None
    user: ColumnName | None = None
    item: ColumnName | None = None
    rating: ColumnName | None = None
    time: ColumnName | None = None
    audio: ColumnName | None = None
    image: ColumnName | None = None
    prompt: ColumnName | None = None
    completion: ColumnName | None = None
    messages: ColumnName | None = None
    split: ColumnName | None = Field(default=None, description="holds train, validation or test")

    def given(self) -> dict[str, str]:
        """Those that are set."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class Data(Section):
    task: Task = Field(
        default="auto",
        description="the recipe whose rules count. auto: the one that files and columns suggest; what only it would refuse as a whole "
        "is then a warning, for the guess may be wrong",
    )
    columns: ColumnHints = ColumnHints()
    max_findings: int = Field(default=200, ge=0, le=10_000, description="spelled out in the profile; all are counted")

    @model_validator(mode="after")
    def _hints_fit_the_task(self) -> Self:
        if self.task != "auto":
            known = (*HINTS_OF_TASK[self.task], *OF_EVERY_TASK)
            strangers = [name for name in self.columns.given() if name not in known]
            if strangers:
                raise ValueError(f"columns.{strangers[0]} means nothing to {self.task}, which knows {', '.join(known)}")
        return self


class DatasetValidationSpec(ToolSpec):
    """Succeeds also for a dataset that is invalid: the metric ``valid`` is 0 then, and the profile says why."""

    summary: ClassVar[str] = "Checks a dataset and describes it: a profile, a report page, every bad row by its place"
    metrics: ClassVar[tuple[str, ...]] = ("valid", "num_rows", "num_findings", "num_warnings")

    recipe: Literal["dataset-validation"]
    dataset: Dataset
    data: Data = Data()
