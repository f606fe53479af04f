"""``profile.json``: what a dataset is like, whether it can be used, and what deserves a look before it is trained on.

Written by the recipe dataset-validation, read by whoever shows it. Splits are those that files or a column give; ``all`` is a
dataset without any. Counts are of rows (records of a table, images, recordings, lines of text).
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

PROFILE, REPORT = "profile.json", "report.html"

ColumnType = Literal["number", "boolean", "category", "identifier", "text", "time", "list", "object", "bytes", "empty"]
WarningCode = Literal[
    "unknown_format",
    "unsuitable",
    "files",
    "mixed_types",
    "missing_values",
    "constant_column",
    "class_imbalance",
    "tiny_class",
    "unknown_label",
    "label_drift",
    "leak",
    "duplicates",
    "conflicting_labels",
    "blank",
    "differing_sizes",
    "differing_rates",
]


class ProfileModel(BaseModel):
    """Unknown keys are ignored when read, so that an older reader understands a newer writer."""

    model_config = ConfigDict(frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_written(cls, value: Any) -> Any:
        return _sound(value)


def _sound(value: Any) -> Any:
    """Texts of a dataset may hold halves of characters, which UTF-8 cannot say; they become question marks."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return {_sound(key): _sound(item) for key, item in value.items()} if isinstance(value, dict) else value


class Finding(ProfileModel):
    """Something that makes the dataset invalid. ``row`` counts from 1; of a table with a header, the header is row 1."""

    file: str | None = None
    row: int | None = None
    column: str | None = None
    message: str


class Caution(ProfileModel):
    """Something that trains and deserves a look."""

    code: WarningCode
    message: str


class Numbers(ProfileModel):
    """Of finite values. ``quantiles``: at 5, 25, 50, 75 and 95 %, by linear interpolation; ``deviation`` is that of a population."""

    num: int
    min: float
    max: float
    mean: float
    deviation: float
    quantiles: dict[str, float]
    histogram: list[int] = Field(default=[], description="counts in bins of equal width from min to max")


class Count(ProfileModel):
    value: str
    num: int


class TextLengths(ProfileModel):
    """``tokens`` is an estimate: words and punctuation marks, each one. A trained tokenizer cuts rare words into several more."""

    characters: Numbers
    words: Numbers
    tokens: Numbers


class ColumnProfile(ProfileModel):
    """``top``: the most frequent values, the first 80 characters of each. ``num_unique`` does not count missing values."""

    name: str
    type: ColumnType
    num_missing: int
    num_unique: int
    numbers: Numbers | None = None
    top: list[Count] = []
    lengths: TextLengths | None = None


class FileProfile(ProfileModel):
    """``encoding`` is null for files that are not text, and ``unknown`` for text in none of the known ones."""

    path: str
    num_bytes: int
    split: str
    encoding: str | None = None


class ImagesProfile(ProfileModel):
    """Sides in pixels as the images stand upright."""

    widths: Numbers | None
    heights: Numbers | None
    sizes: list[Count]
    modes: list[Count]
    formats: list[Count]


class AudioProfile(ProfileModel):
    seconds: Numbers | None
    total_seconds: float
    rates: list[Count]
    channels: list[Count]
    formats: list[Count]


class LabelsProfile(ProfileModel):
    """``counts``: rows (of tagged texts: words) by split and label, the labels in their order. The largest sets are cut at 1,000 labels."""

    column: str | None
    num_labels: int
    counts: dict[str, dict[str, int]]


class Drift(ProfileModel):
    """``distance``: half the sum of the differences between label shares of two splits, from 0 to 1 (total variation)."""

    split: str
    compared_with: str
    distance: float


class Leak(ProfileModel):
    """Rows of ``split`` that also stand in ``other``; ``num_loose`` of them only when case, spaces and punctuation do not count."""

    split: str
    other: str
    num_exact: int
    num_loose: int


class Profile(ProfileModel):
    """``columns_used``: what each part of a row is for, as detected or told: {"text": "sentence", "label": "label"}."""

    version: Literal[1] = 1
    valid: bool
    format: str
    task: str | None = Field(description="the recipe that fits; null when none does")
    is_task_told: bool
    columns_used: dict[str, str] = {}
    num_rows: int
    splits: dict[str, int]
    num_files: int
    num_bytes: int
    files: list[FileProfile] = Field(default=[], description="the first 200")
    columns: list[ColumnProfile] = []
    images: ImagesProfile | None = None
    audio: AudioProfile | None = None
    labels: LabelsProfile | None = None
    drifts: list[Drift] = []
    num_duplicates: int = Field(default=0, description="rows that equal an earlier one of the same split")
    leaks: list[Leak] = []
    num_findings: int
    findings: list[Finding] = []
    warnings: list[Caution] = []
