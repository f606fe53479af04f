"""API keys as their owner sees them; the secret is shown once, when it is made."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from core.wire.base import Instant, WireModel, WireRequest


class Scope(StrEnum):
    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"
    WORKER = "worker"


ProjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class CreateKeyRequest(WireRequest):
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    scopes: tuple[Scope, ...] = Field(min_length=1, max_length=4)
    project: ProjectName | None = Field(
        default=None, description="another project than the caller's; only for keys of the operator's project"
    )
    expires_in_seconds: int | None = Field(default=None, ge=1, le=315_360_000)


class ApiKey(WireModel):
    object: Literal["api_key"] = "api_key"
    id: str
    name: str
    project: str
    scopes: list[Scope]
    created_at: Instant
    expires_at: Instant | None = None
    last_used_at: Instant | None = None
    revoked_at: Instant | None = None


class CreatedKey(ApiKey):
    key: str = Field(description="the secret; it is not stored and cannot be shown again", repr=False)
