"""JobSpec: what a user submits. Frozen, strict, versioned; it validates itself and refuses unknown keys.

The frame here is common to every job. A recipe (``core/recipes/<name>.py``) subclasses it with typed
``model``, ``training`` and ``evaluation`` sections, and ``core.recipes.parse_spec`` picks the right one.
Specs are always read from JSON text (``model_validate_json``): strict mode treats JSON arrays and strings
as tuples and enums there, and nowhere else.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from core.states import EFFECTS, Budget, Reason

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._/-]+$")]
LabelValue = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]
LocalPath = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^/[^\x00]*$")]

ResourceName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Alias = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]
ChannelName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]

Accelerator = Literal["auto", "cpu", "cuda"]
USER_REASONS = tuple(reason for reason, effect in EFFECTS.items() if effect.budget is Budget.USER)


class Strict(BaseModel):
    """The base of everything a user writes: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BuiltinDataset(Strict):
    """A dataset that comes with the software: scikit-learn's handwritten digits (1,797 grey 8x8 images, 10 classes)."""

    builtin: Literal["digits"]


class PathDataset(Strict):
    """A dataset that already lies on the workers, inside a root that their operator allows."""

    path: LocalPath


class NamedDataset(Strict):
    """A version of one of the project's datasets. ``latest`` is settled when the job is submitted; the stored spec has the number."""

    name: ResourceName
    version: Annotated[int, Field(ge=1)] | Literal["latest"] = "latest"


class JobModel(Strict):
    """The packaged model of an earlier job of the same project."""

    job: Annotated[str, StringConstraints(pattern=r"^job_[0-9a-z]{26}$")]


class PathModel(Strict):
    """A packaged model that already lies on the workers, inside a root that their operator allows."""

    path: LocalPath


class NamedModel(Strict):
    """A version of one of the project's models, by number or by alias; settled like a dataset's."""

    name: ResourceName
    version: Annotated[int, Field(ge=1)] | Alias = "latest"


def by_key(*keys: str) -> Discriminator:
    """Tells the members of a union apart by the one key that each has, so that errors speak of the member that was meant.

    A tag is written ``<key>``: it appears in pydantic's locations, and ``core.recipes`` leaves such parts out of pointers.
    """

    def tag(value: Any) -> str | None:
        named = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
        return next((f"<{key}>" for key in keys if key in named), None)

    message = f"must be an object with one of the keys: {', '.join(keys)}"
    return Discriminator(tag, custom_error_type="reference", custom_error_message=message)


def _from_text(value: Any) -> Any:
    """``name@version`` is short for the object; without ``@`` the newest version is meant."""
    if not isinstance(value, str):
        return value
    name, _, version = value.partition("@")
    return {"name": name, "version": int(version) if version.isdecimal() else version or "latest"}


Dataset = Annotated[
    Annotated[BuiltinDataset, Tag("<builtin>")] | Annotated[PathDataset, Tag("<path>")] | Annotated[NamedDataset, Tag("<name>")],
    by_key("builtin", "path", "name"),
    BeforeValidator(_from_text, json_schema_input_type=str | BuiltinDataset | PathDataset | NamedDataset),
]
BaseModelReference = Annotated[
    Annotated[JobModel, Tag("<job>")] | Annotated[PathModel, Tag("<path>")] | Annotated[NamedModel, Tag("<name>")],
    by_key("job", "path", "name"),
    BeforeValidator(_from_text, json_schema_input_type=str | JobModel | PathModel | NamedModel),
]


class Resources(Strict):
    """What one attempt holds while it runs. One rank runs on each device."""

    nodes: int = Field(default=1, ge=1, le=1024)
    devices_per_node: int = Field(default=1, ge=1, le=64, description="GPUs, or CPU slots on a node without GPUs")
    accelerator: Accelerator = "auto"


class Retry(Strict):
    """Retries of the user's own failures. Lost nodes and killed ranks are retried without asking."""

    on: tuple[Reason, ...] = Field(default=(), description="reasons that are worth another try", max_length=len(USER_REASONS))
    max_retries: int = Field(default=1, ge=0, le=10)

    @model_validator(mode="after")
    def _only_user_reasons(self) -> Self:
        strangers = [reason.value for reason in self.on if reason not in USER_REASONS]
        if strangers:
            raise ValueError(f"only {', '.join(r.value for r in USER_REASONS)} can be named here, not {', '.join(strangers)}")
        return self


class Checkpoints(Strict):
    """How often a checkpoint is written; whichever comes first. One is always written at the end and when asked to stop."""

    every_seconds: float = Field(default=600, ge=0.1, le=86_400)
    every_steps: int | None = Field(default=None, ge=1)


class Section(Strict):
    """The base of a recipe's ``model``, ``training`` and ``evaluation`` sections."""

    # Whose "auto" depends on nothing but the spec and the type of the device, and so is no danger to a deterministic job.
    settled_by_device: ClassVar[tuple[str, ...]] = ()

    def auto_knobs(self) -> tuple[str, ...]:
        """Names of the fields whose value is decided on the node; a deterministic job may have none."""
        fields = (name for name in type(self).model_fields if name not in self.settled_by_device)
        return tuple(name for name in fields if getattr(self, name) == "auto")


MAIN_CHANNEL = "training"  # of ``dataset``


class JobSpec(Strict):
    """The frame of every job."""

    summary: ClassVar[str] = ""  # one line about the recipe
    metrics: ClassVar[tuple[str, ...]] = ()  # all that a run may write

    version: Literal[1] = 1
    name: Name | None = None
    recipe: str
    dataset: Dataset | None = None
    base_model: BaseModelReference | None = None
    register_as: ResourceName | None = Field(
        default=None, description="when the job succeeds, its package becomes the next version of the model of this name"
    )
    data: Section = Section()
    model: Section = Section()
    fine_tuning: Section | None = None
    training: Section = Section()
    evaluation: Section = Section()
    resources: Resources = Resources()
    checkpoints: Checkpoints = Checkpoints()
    retry: Retry = Retry()
    timeout_seconds: int | None = Field(default=None, ge=1, le=31_536_000, description="running time over all attempts")
    stall_timeout_seconds: float | None = Field(
        default=None,
        ge=1,
        le=86_400,
        description="no progress for this long means hung; by default five median steps, and the worker's minimum at least",
    )
    priority: int = Field(default=0, ge=-100, le=100, description="higher is claimed first")
    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=16)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    deterministic: bool = Field(
        default=False, description="same spec, software, device type and world size give the same weights, bit for bit"
    )

    @model_validator(mode="after")
    def _deterministic_means_nothing_is_auto(self) -> Self:
        if not self.deterministic:
            return self
        auto = ["resources.accelerator"] if self.resources.accelerator == "auto" else []
        for section in ("model", "training", "evaluation"):
            auto += [f"{section}.{name}" for name in getattr(self, section).auto_knobs()]
        if auto:
            raise ValueError(f"a deterministic job needs a fixed value for {', '.join(auto)} instead of 'auto'")
        return self

    def num_steps(self, num_training_rows: int | None) -> int | None:
        """Optimiser steps of the whole job; None where nobody can tell before it has read its data."""
        return None

    def channels(self) -> dict[str, Dataset]:
        """Every dataset that an attempt reads, by the name under which it is handed to the ranks."""
        return {} if self.dataset is None else {MAIN_CHANNEL: self.dataset}

    def with_channels(self, channels: dict[str, Dataset]) -> Self:
        """The same job reading these datasets instead; the keys are those of ``channels``."""
        return self.model_copy(update={"dataset": channels[MAIN_CHANNEL]}) if channels else self

    def channel_pointer(self, channel: str) -> str:
        """Where in the spec this channel's dataset stands, as a JSON pointer."""
        return "/dataset" if channel == MAIN_CHANNEL else f"/datasets/{channel}"
