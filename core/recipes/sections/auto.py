"""Numbers that may be "auto" instead. A tagged union, so that the bounds hold for numbers alone and a refusal names the field."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

Auto = Annotated[Literal["auto"], Tag("<auto>")]
OR_AUTO = Discriminator(lambda value: "<auto>" if value == "auto" else "<number>")

BatchSize = Annotated[Annotated[int, Field(ge=1, le=1_048_576), Tag("<number>")] | Auto, OR_AUTO]
LearningRate = Annotated[Annotated[float, Field(gt=0, le=100), Tag("<number>")] | Auto, OR_AUTO]
ImageSize = Annotated[Annotated[int, Field(ge=4, le=1024), Tag("<number>")] | Auto, OR_AUTO]
PatchSize = Annotated[Annotated[int, Field(ge=1, le=64), Tag("<number>")] | Auto, OR_AUTO]
