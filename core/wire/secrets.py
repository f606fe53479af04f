"""Secrets as their project sees them: names and dates, never a value."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from core.wire.base import Instant, WireModel, WireRequest

SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class PutSecretRequest(WireRequest):
    value: SecretStr = Field(min_length=8, max_length=32_768, description="a shorter one could not be masked in logs")


class Secret(WireModel):
    object: Literal["secret"] = "secret"
    name: str
    created_at: Instant
    updated_at: Instant
