"""model-export: a packaged model as a program that runs without this software, proven to compute the same."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.recipes.sections.tool import ToolSpec
from core.spec import BaseModelReference, Section

OPSET = 18  # what runtimes of the last years all read


class Model(Section):
    format: Literal["torch", "onnx", "transformers"] = Field(
        default="onnx",
        description="torch: a program of torch.export; onnx: for ONNX Runtime and others; transformers: a folder for from_pretrained",
    )
    opset: int | None = Field(default=None, ge=18, le=23, description=f"onnx: the version of its operators; null: {OPSET}")
    num_rows: int = Field(default=32, ge=2, le=4096, description="rows that the export and the model are compared on")
    tolerance: float = Field(default=1e-4, gt=0, le=1, description="the largest difference of an output, absolute, or relative to it")


class ModelExportSpec(ToolSpec):
    """The rows to compare on are the dataset's; without one, what the package was tested on as far as it keeps that, else made up.

    Nothing is handed out that differs by more than the tolerance, or that takes fewer shapes than the model.
    """

    summary: ClassVar[str] = "A packaged model as a torch.export program, ONNX, or a Transformers folder, compared with the original"
    metrics: ClassVar[tuple[str, ...]] = ("num_rows", "max_error", "export_bytes")

    recipe: Literal["model-export"]
    base_model: BaseModelReference
    model: Model = Model()

    @model_validator(mode="after")
    def _opset_is_of_onnx(self) -> Self:
        if self.model.format != "onnx" and self.model.opset is not None:
            raise ValueError(f"model.opset is of format onnx, and the format is {self.model.format}")
        return self
