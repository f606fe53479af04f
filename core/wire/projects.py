"""Projects as their admins see them: how long they keep what they have, and what was removed for it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from core.wire.base import Instant, WireModel, WireRequest


class Kind(StrEnum):
    """What a policy has a number of days for."""

    ARTIFACTS = "artifacts"
    CHECKPOINTS = "checkpoints"
    LOGS = "logs"
    DATASETS = "datasets"


Days = Annotated[int, Field(ge=1, le=36_500)]


class ChangeRetentionRequest(WireRequest):
    """Days; null keeps for ever. What is left out stays as it is."""

    artifacts_days: Days | None = Field(default=None, description="of a job that has ended, counted from its end")
    checkpoints_days: Days | None = Field(default=None, description="the same")
    logs_days: Days | None = Field(default=None, description="the same")
    datasets_days: Days | None = Field(default=None, description="of a version that nothing refers to, counted from when that was last so")


class Retention(WireModel):
    """Days; null keeps for ever."""

    artifacts_days: int | None = None
    checkpoints_days: int | None = None
    logs_days: int | None = None
    datasets_days: int | None = None
    changed_at: Instant | None = None
    key_id: str | None = Field(default=None, description="the key that changed it last")

    def days(self, kind: Kind) -> int | None:
        days: int | None = getattr(self, f"{kind}_days")
        return days


class Project(WireModel):
    object: Literal["project"] = "project"
    id: str
    name: str
    created_at: Instant
    retention: Retention


class Removal(WireModel):
    """Something that retention removed."""

    object: Literal["removal"] = "removal"
    id: str
    kind: Kind
    subject: str = Field(description="a job's id, or `name@version` of a dataset")
    days: int = Field(description="the policy's, when it was removed")
    num_bytes: int = Field(description="of what was removed; bytes that something else refers to are still stored")
    removed_at: Instant

    @property
    def rule(self) -> str:
        return f"{self.kind}_days={self.days}"
