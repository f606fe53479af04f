"""Models, their versions and what is done with them, as a client sees them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator

from core.manifest import ManifestFile
from core.spec import Alias, Dataset, ResourceName
from core.wire.base import Instant, WireModel, WireRequest

MAX_FILES = 10_000  # of one version
JobReference = Annotated[str, StringConstraints(pattern=r"^job_[0-9a-z]{26}$")]
Description = Annotated[str, StringConstraints(max_length=2_000)]
VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


class RegisterModelRequest(WireRequest):
    """A name for the package of a succeeded job: version 1 of a new model, or one more of a model that there is."""

    name: ResourceName
    job: JobReference
    description: Description | None = Field(default=None, description="of the model; null leaves it as it is")


class AddModelVersionRequest(WireRequest):
    """One more version: the package of a succeeded job, or files that this project has uploaded."""

    job: JobReference | None = None
    files: tuple[ManifestFile, ...] | None = Field(default=None, min_length=1, max_length=MAX_FILES)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.job is None) == (self.files is None):
            raise ValueError("give either job or files")
        return self


class UnlessWorse(WireRequest):
    """The check of a promotion: the version must be no worse by ``metric`` than the one that the alias points to."""

    metric: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")] = Field(
        description="such as `accuracy` or `test.accuracy`; without a split that of the test, else of the validation"
    )
    tolerance: float = Field(default=0.0, ge=0, le=1e9, allow_inf_nan=False, description="so much worse is still accepted")
    higher_is_better: bool | None = Field(default=None, description="needed for metrics that the recipes do not have")
    dataset: Dataset | None = Field(default=None, description="both versions are scored on it now, by jobs; null compares recorded metrics")


class PromoteRequest(WireRequest):
    version: VersionNumber | Alias = Field(description="a number, another alias, or latest")
    unless_worse: UnlessWorse | None = None


class RegisteredModel(WireModel):
    object: Literal["model"] = "model"
    id: str
    name: str
    description: str
    latest_version: int | None = Field(description="the highest number that there is; null when every version was deleted")
    aliases: dict[str, int] = Field(description="the version that each points to")
    created_at: Instant


class ModelParent(WireModel):
    """What a version was trained from: a version of a model, or a job's package that was none when it was used."""

    name: str | None = None
    version: int | None = None
    job_id: str | None = None


class ModelVersion(WireModel):
    object: Literal["model_version"] = "model_version"
    id: str
    name: str
    version: int
    aliases: list[str]
    job_id: str | None = Field(description="null for uploaded files")
    recipe: str | None
    parent: ModelParent | None
    metrics: dict[str, float]
    digest: str = Field(description="the same for the same files")
    data_digest: str | None = Field(description="the same for the same datasets, as the spec names them; null where only a path is known")
    spec_digest: str | None = Field(description="the same for the same spec, its name, labels and priority left out")
    num_files: int
    num_bytes: int
    created_at: Instant


class ModelFile(WireModel):
    object: Literal["model_file"] = "model_file"
    path: str
    size: int
    sha256: str
    media_type: str


class MetricComparison(WireModel):
    """One metric of two versions; ``difference`` is b minus a."""

    a: float | None
    b: float | None
    difference: float | None
    better: Literal["a", "b", "same"] | None = Field(description="null where one has no number, or it is not known which way is better")


class SpecDifference(WireModel):
    """One place, as a JSON pointer, where two specs differ; a side that has nothing there is absent."""

    pointer: str
    a: JsonValue = None
    b: JsonValue = None


class ModelComparison(WireModel):
    object: Literal["model_comparison"] = "model_comparison"
    a: ModelVersion
    b: ModelVersion
    metrics: dict[str, MetricComparison]
    same_files: bool
    same_data: bool | None = Field(description="whether both saw the same data; null where that is not known")
    spec_differences: list[SpecDifference] | None = Field(description="null where one was uploaded and has no spec")


class CheckResult(WireModel):
    """What the check of a promotion compared."""

    metric: str
    higher_is_better: bool
    tolerance: float
    dataset: dict[str, Any] | None = None
    candidate: float | None = None
    current: float | None = None
    current_version: int
    candidate_job_id: str | None = None
    current_job_id: str | None = None


class Promotion(WireModel):
    object: Literal["promotion"] = "promotion"
    id: str | None = Field(default=None, description="of a promotion whose check runs as jobs")
    name: str
    alias: str
    version: int
    previous_version: int | None = Field(description="the one that the alias pointed to when this was asked for")
    outcome: Literal["promoted", "pending", "refused", "failed", "superseded"] = Field(
        description="refused: the check says worse; failed: it could not be done; superseded: the alias was moved meanwhile"
    )
    message: str
    check: CheckResult | None = None
    created_at: Instant


class ModelEvent(WireModel):
    """One line of a model's history; ``seq`` counts from 1 without a gap."""

    object: Literal["model_event"] = "model_event"
    seq: int
    type: str = Field(description="a fixed word such as version.registered, alias.moved, alias.removed, promotion.refused")
    at: Instant
    by: str | None = Field(description="id of the API key that asked; null for what a job's spec asked for")
    alias: str | None = None
    version: int | None = None
    previous_version: int | None = None
    message: str
    data: dict[str, JsonValue] = {}
