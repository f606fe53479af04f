"""dataset-validation: reads a dataset and tells whether it can be trained on."""

from typing import ClassVar, Literal

from pydantic import Field

from core.recipes.sections.tool import ToolSpec
from core.spec import Dataset, Section

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


class Data(Section):
    task: Task = Field(default="auto", description="the recipe that will train on it; auto: told from the files")


class DatasetValidationSpec(ToolSpec):
    """Leaves ``profile.json``: whether the data is valid, and every finding with its place."""

    summary: ClassVar[str] = "Whether a dataset can be trained on, and what is in it"
    metrics: ClassVar[tuple[str, ...]] = ("valid", "num_findings")

    recipe: Literal["dataset-validation"]
    dataset: Dataset
    data: Data = Data()
