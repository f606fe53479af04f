"""dataset-preparation: a new dataset out of another, by declared steps. The same steps and seed give the same bytes."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from core.recipes.sections.augmentations import AudioAugmentation, ColumnName, ImageAugmentation, Share, TextAugmentation
from core.recipes.sections.tool import ToolSpec
from core.spec import Dataset, Section

ColumnNames = Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=10_000)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
TypeName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^\S+$")]
Unit = Literal["row", "document"]
OF_UNITS = "document: of plain texts and CoNLL columns, whole documents"
OWN_SEED = "null: one that the seed of the spec and the place of the step decide"


class DropDuplicates(Section):
    """Of equal rows one stays: one of the test split before one of validation before one of training, else the first."""

    do: Literal["drop_duplicates"]
    columns: ColumnNames | None = Field(
        default=None,
        description="rows that agree in these are equal; null: in all, of recordings in their sound, of images in their pixels",
    )
    unit: Unit = Field(default="row", description=OF_UNITS)


class FixEncoding(Section):
    """Text files become UTF-8 without a byte order mark. Comes first, for nothing can be read before."""

    model_config = ConfigDict(serialize_by_alias=True)  # a stored spec must read as it was written

    do: Literal["fix_encoding"]
    source: Literal["auto", "utf-8", "utf-16", "utf-32", "cp1250", "cp1251", "cp1252", "iso-8859-1", "gb18030", "shift_jis", "euc_kr"] = (
        Field(default="auto", alias="from", description="auto: by the byte order mark, else UTF-8 where that fits, else cp1252")
    )


class DropMissing(Section):
    """Rows without a value in any of the columns go. Empty cells, NA, N/A, NaN, null and ? are no values; of plain texts, blank lines."""

    do: Literal["drop_missing"]
    columns: ColumnNames | None = Field(default=None, description="null: all")
    unit: Unit = Field(default="row", description=OF_UNITS)


class DropByLength(Section):
    """Rows that are shorter or longer than they may be go."""

    do: Literal["drop_by_length"]
    unit: Literal["seconds", "characters", "words"] = Field(description="seconds: of recordings; words: what stands between spaces")
    column: ColumnName | None = Field(default=None, description="of a table: the column; of recordings and tagged words the usual one")
    min: float | None = Field(default=None, ge=0)
    max: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _a_bound_is_given(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("name at least one of min and max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is more than max")
        return self


class Impute(Section):
    """Missing cells get a value, learned from the training split where there is one."""

    do: Literal["impute"]
    columns: ColumnNames
    by: Literal["mean", "median", "mode", "constant"] = "median"
    value: str | float | int | None = Field(default=None, description="constant: what stands in")

    @model_validator(mode="after")
    def _a_constant_has_a_value(self) -> Self:
        if (self.by == "constant") != (self.value is not None):
            raise ValueError("by constant needs a value, and nothing else takes one")
        return self


class ClipOutliers(Section):
    """Numbers beyond the bounds are moved onto them. Bounds that are not given come from the training split where there is one."""

    do: Literal["clip_outliers"]
    columns: ColumnNames
    by: Literal["iqr", "quantiles", "bounds"] = "iqr"
    factor: float = Field(default=1.5, ge=0, le=1e6, description="iqr: interquartile ranges beyond the quartiles (Tukey 1977)")
    low: float = Field(default=0.01, ge=0, le=0.5, description="quantiles: the lower one")
    high: float = Field(default=0.99, ge=0.5, le=1, description="quantiles: the upper one")
    min: float | None = Field(default=None, description="bounds: the lower one")
    max: float | None = Field(default=None, description="bounds: the upper one")

    @model_validator(mode="after")
    def _bounds_are_given(self) -> Self:
        if (self.by == "bounds") == (self.min is None and self.max is None):
            raise ValueError("by bounds needs min or max, and nothing else takes them")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is more than max")
        return self


class Normalise(Section):
    """Fitted on the training split where there is one. A constant column becomes 0."""

    do: Literal["normalise"]
    columns: ColumnNames
    by: Literal["standard", "minmax"] = Field(default="standard", description="standard: mean 0, deviation 1; minmax: from 0 to 1")


class Split(Section):
    """Every row gets a new place in train, validation or test, whatever split it had."""

    do: Literal["split"]
    by: Literal["ratio", "stratified", "group", "time"] = Field(
        default="ratio",
        description="stratified: every class gives its share; group: rows that agree stay together; time: the latest rows are tested on",
    )
    column: ColumnName | None = Field(
        default=None, description="the class, group or time; of images, the folder is the class; of texts, time is the order of the lines"
    )
    validation: Share = Field(default=0.1, description="of all rows")
    test: Share = Field(default=0.1, description="of all rows")
    unit: Unit = Field(default="row", description=OF_UNITS)
    seed: Seed | None = Field(default=None, description=OWN_SEED)

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on")
        if not self.validation + self.test:
            raise ValueError("validation and test are both 0, which splits nothing")
        return self


class Sample(Section):
    """Rows drawn by chance, of every split its share, in their order."""

    do: Literal["sample"]
    rows: int | None = Field(default=None, ge=1, le=2**53)
    fraction: float | None = Field(default=None, gt=0, lt=1)
    stratified_by: ColumnName | None = Field(default=None, description="every value of this column keeps its share as well")
    unit: Unit = Field(default="row", description=OF_UNITS)
    seed: Seed | None = Field(default=None, description=OWN_SEED)

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.rows is None) == (self.fraction is None):
            raise ValueError("give either rows or fraction")
        return self


class Balance(Section):
    """Every class gets as many training rows as the largest (over: rows are repeated) or the smallest (under: rows are left out)."""

    do: Literal["balance"]
    label: ColumnName | None = Field(
        default=None, description="the column of classes; of images, the folder; of tagged words null: sentences with and without entities"
    )
    how: Literal["over", "under"] = "under"
    seed: Seed | None = Field(default=None, description=OWN_SEED)


class Augment(Section):
    """Changed copies of training rows are added: of images behind all originals, of rows of a table each behind its own."""

    do: Literal["augment"]
    images: ImageAugmentation | None = None
    text: TextAugmentation | None = None
    audio: AudioAugmentation | None = None
    copies: int = Field(default=1, ge=1, le=100, description="of each training row")
    seed: Seed | None = Field(default=None, description=OWN_SEED)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.images, self.text, self.audio)) != 1:
            raise ValueError("give either images or text or audio")
        return self


class MapColumns(Section):
    """First columns are kept or dropped, then renamed."""

    do: Literal["map_columns"]
    rename: dict[ColumnName, ColumnName] = Field(default={}, max_length=10_000, description="{old name: new name}")
    keep: ColumnNames | None = Field(default=None, description="these alone, in this order")
    drop: ColumnNames | None = None

    @model_validator(mode="after")
    def _keep_or_drop(self) -> Self:
        if self.keep is not None and self.drop is not None:
            raise ValueError("give either keep or drop")
        if not (self.rename or self.keep or self.drop):
            raise ValueError("name at least one of rename, keep and drop")
        return self


class MapTags(Section):
    """Types of entities under other names, or as words like others: of B-person and I-person, ``person`` is the type."""

    do: Literal["map_tags"]
    rename: dict[TypeName, TypeName] = Field(default={}, max_length=10_000, description="{old type: new type}; two may become one")
    drop: Annotated[tuple[TypeName, ...], Field(max_length=10_000)] = Field(default=(), description="their words are tagged O")

    @model_validator(mode="after")
    def _something_is_done(self) -> Self:
        if not (self.rename or self.drop):
            raise ValueError("name at least one of rename and drop")
        both = sorted(set(self.rename) & set(self.drop))
        if both:
            raise ValueError(f"{both[0]!r} is both renamed and dropped")
        return self


STEPS: dict[str, type[Section]] = {
    "drop_duplicates": DropDuplicates,
    "fix_encoding": FixEncoding,
    "drop_missing": DropMissing,
    "drop_by_length": DropByLength,
    "impute": Impute,
    "clip_outliers": ClipOutliers,
    "normalise": Normalise,
    "split": Split,
    "sample": Sample,
    "balance": Balance,
    "augment": Augment,
    "map_columns": MapColumns,
    "map_tags": MapTags,
}


def _tag_of_step(value: Any) -> str | None:
    named = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    return f"<{named['do']}>" if named.get("do") in STEPS else None


Step = Annotated[
    Annotated[DropDuplicates, Tag("<drop_duplicates>")]
    | Annotated[FixEncoding, Tag("<fix_encoding>")]
    | Annotated[DropMissing, Tag("<drop_missing>")]
    | Annotated[DropByLength, Tag("<drop_by_length>")]
    | Annotated[Impute, Tag("<impute>")]
    | Annotated[ClipOutliers, Tag("<clip_outliers>")]
    | Annotated[Normalise, Tag("<normalise>")]
    | Annotated[Split, Tag("<split>")]
    | Annotated[Sample, Tag("<sample>")]
    | Annotated[Balance, Tag("<balance>")]
    | Annotated[Augment, Tag("<augment>")]
    | Annotated[MapColumns, Tag("<map_columns>")]
    | Annotated[MapTags, Tag("<map_tags>")],
    Discriminator(_tag_of_step, custom_error_type="step", custom_error_message=f"do must be one of {', '.join(STEPS)}"),
]


class Data(Section):
    steps: tuple[Step, ...] = Field(max_length=100)
    on_bad_rows: Literal["fail", "drop"] = Field(
        default="fail", description="rows that cannot be read. fail: the job ends with all of them listed; drop: it goes on without them"
    )

    @model_validator(mode="after")
    def _there_are_steps_and_the_encoding_comes_first(self) -> Self:
        if not self.steps:  # a bound on the field would be reported once more for every step that is wrong
            raise ValueError("steps is empty: there is nothing to do")
        if any(isinstance(step, FixEncoding) for step in self.steps[1:]):
            raise ValueError("fix_encoding must be the first step: nothing can be read before")
        return self


class DatasetPreparationSpec(ToolSpec):
    """Leaves the new dataset below ``data/`` among its artifacts, in the format of the old one, and ``preparation.json``."""

    summary: ClassVar[str] = "Makes a new dataset out of another: cleaned, split, sampled, balanced, augmented, by declared steps"
    metrics: ClassVar[tuple[str, ...]] = ("rows_in", "rows_out")

    recipe: Literal["dataset-preparation"]
    dataset: Dataset
    data: Data
