"""How the copies that a preparation adds to a dataset differ from their originals."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from core.spec import Section

ColumnName = Annotated[str, Field(min_length=1, max_length=512)]
Share = Annotated[float, Field(ge=0, lt=1)]


class ImageAugmentation(Section):
    """Each copy is put through all that is set, by chance."""

    flip: bool = Field(default=False, description="left for right, every second copy")
    crop: float | None = Field(default=None, gt=0, lt=1, description="a random part with at least this share of each side")
    rotate: float | None = Field(default=None, gt=0, le=180, description="degrees, at most, to either side; corners become black")

    @model_validator(mode="after")
    def _something_is_done(self) -> Self:
        if not self.flip and self.crop is None and self.rotate is None:
            raise ValueError("name at least one of flip, crop and rotate")
        return self


class TextAugmentation(Section):
    """Words left out, or exchanged in pairs (Wei and Zou 2019, arXiv:1901.11196); one word always stays."""

    column: ColumnName
    dropout: Share = 0.0
    swap: Share = Field(default=0.0, description="of the words, how many change places")

    @model_validator(mode="after")
    def _something_is_done(self) -> Self:
        if not self.dropout and not self.swap:
            raise ValueError("dropout and swap are both 0, which changes nothing")
        return self


class AudioAugmentation(Section):
    """Each copy is put through all that is set, by chance. Copies are WAV files."""

    speed: float | None = Field(
        default=None, gt=0, le=0.5, description="faster or slower by at most this share; it moves the pitch as well"
    )
    noise: float | None = Field(default=None, ge=0, le=80, description="white noise, this many dB below the recording")

    @model_validator(mode="after")
    def _something_is_done(self) -> Self:
        if self.speed is None and self.noise is None:
            raise ValueError("name at least one of speed and noise")
        return self
