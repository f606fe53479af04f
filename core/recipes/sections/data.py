"""What is done with rows before a model sees them: cleaning, splitting, balancing. Every recipe's ``data`` section starts from this."""

from typing import Literal, Self

from pydantic import Field, model_validator

from core.spec import Section

SplitKind = Literal["auto", "ratio", "stratified", "group", "time", "given"]


class DataKnobs(Section):
    on_bad_rows: Literal["fail", "drop"] = Field(
        default="fail", description="fail: the job ends with all of them listed; drop: it goes on without them, and the report counts them"
    )
    drop_duplicates: bool = Field(default=False, description="of identical training rows one is kept")
    split: SplitKind = Field(
        default="auto",
        description="auto: given where files, folders or a column say so, else stratified where there are classes, else ratio",
    )
    split_column: str = Field(default="split", max_length=128, description="given: holds train, validation or test")
    group_column: str | None = Field(default=None, max_length=128, description="group: rows that agree in it stay on one side")
    time_column: str | None = Field(default=None, max_length=128, description="time: the latest rows are tested on")
    validation_fraction: float = Field(default=0.1, gt=0, lt=0.5, description="of the rows that no given split covers")
    test_fraction: float = Field(default=0.1, gt=0, lt=0.5, description="of the rows that no given split covers")
    leaks: Literal["report", "drop", "fail"] = Field(
        default="report", description="rows that stand in two splits; drop: they leave the training split"
    )

    @model_validator(mode="after")
    def _split_knows_its_column(self) -> Self:
        for kind in ("group", "time"):
            if self.split == kind and getattr(self, f"{kind}_column") is None:
                raise ValueError(f"split {kind} needs {kind}_column")
        return self


class ClassKnobs(DataKnobs):
    """For recipes whose rows have one class each."""

    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced: the loss weighs classes by the inverse of their size"
    )
    balanced_sampling: bool = Field(default=False, description="every class is drawn equally often")
