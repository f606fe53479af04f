"""Datasets, their versions and files, as a client sees them."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from core.manifest import ManifestFile
from core.spec import LocalPath, ResourceName
from core.states import DatasetState
from core.wire.base import Instant, WireModel, WireRequest

MAX_FILES = 100_000

VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


class CreateDatasetRequest(WireRequest):
    name: ResourceName
    task: str | None = Field(
        default=None, max_length=64, description="the recipe that will train on it; by default its validation finds out what it is for"
    )


class AddVersionRequest(WireRequest):
    """A whole version at once: files that this project has uploaded, or a file or folder on the server."""

    files: tuple[ManifestFile, ...] | None = Field(default=None, max_length=MAX_FILES)
    from_path: LocalPath | None = Field(default=None, description="inside the folders that the server's operator allows")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.files is None) == (self.from_path is None):
            raise ValueError("give either files or from_path")
        if self.files == ():
            raise ValueError("files must not be empty")
        return self


class PrepareRequest(WireRequest):
    """Steps that make a new version from one that is ready."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    version: VersionNumber | Literal["latest"] = "latest"
    steps: list[dict[str, JsonValue]] = Field(min_length=1, max_length=64, description="as the recipe dataset-preparation has them")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    into: ResourceName | None = Field(default=None, alias="as", description="the dataset that gets the version; by default this one")


class Lineage(WireModel):
    """What a prepared version was made from, and how: the same again gives the same bytes."""

    dataset: str
    version: int
    digest: str | None = Field(description="of the source; null while a job makes that")
    steps: list[dict[str, JsonValue]]
    seed: int
    job_id: str


class DatasetVersion(WireModel):
    object: Literal["dataset_version"] = "dataset_version"
    id: str
    dataset: str = Field(description="the dataset's name")
    number: int
    state: DatasetState
    is_terminal: bool
    message: str | None = Field(default=None, description="of an invalid version: why")
    job_id: str | None = Field(default=None, description="the job that prepares it while it is uploading, else the one that validates it")
    num_files: int
    num_bytes: int
    digest: str | None = Field(default=None, description="names exactly these files, once they are final")
    lineage: Lineage | None = None
    created_at: Instant


class Dataset(WireModel):
    object: Literal["dataset"] = "dataset"
    id: str
    name: str
    task: str | None = None
    latest: int | None = Field(default=None, description="the newest version that is ready")
    versions: list[DatasetVersion] = Field(default=[], description="newest first, 100 at most; all of them are a list of their own")
    created_at: Instant


class DatasetFile(WireModel):
    object: Literal["dataset_file"] = "dataset_file"
    dataset: str
    version: int
    path: str
    size: int
    sha256: str
