"""dataset-preparation: makes new files from a dataset, by declared steps."""

from typing import ClassVar, Literal

from pydantic import Field

from core.recipes.sections.tool import ToolSpec
from core.spec import Dataset, Section, Strict


class Copy(Strict):
    """Everything as it is."""

    do: Literal["copy"]


class Data(Section):
    steps: tuple[Copy, ...] = Field(min_length=1, max_length=64)


class DatasetPreparationSpec(ToolSpec):
    """Leaves the new files below ``data``."""

    summary: ClassVar[str] = "A new dataset from another, by declared steps"
    metrics: ClassVar[tuple[str, ...]] = ("num_files",)

    recipe: Literal["dataset-preparation"]
    dataset: Dataset
    data: Data
