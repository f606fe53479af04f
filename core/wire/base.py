"""The shapes that every resource shares."""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Item = TypeVar("Item")


def _rfc3339(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(_rfc3339, when_used="json")]


class WireModel(BaseModel):
    """Responses: unknown keys are ignored when read, so that an older client understands a newer server."""

    model_config = ConfigDict(frozen=True)


class WireRequest(BaseModel):
    """Requests: unknown keys are refused, and nothing is converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Page(WireModel, Generic[Item]):
    """One page of a list, newest first; ask for the next with ``after=<last_id>`` while ``has_more`` is true."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None


class ErrorDetail(WireModel):
    """One finding; ``pointer`` is a JSON pointer into the request body."""

    pointer: str
    message: str
    code: str


class ErrorBody(WireModel):
    """The member that clients of OpenAI's API read."""

    message: str
    type: str
    param: str | None = None
    code: str


class ProblemDocument(WireModel):
    """RFC 9457 problem details (application/problem+json)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="the request id, also sent as X-Request-Id")
    error: ErrorBody
    errors: list[ErrorDetail] = []
    expected_offset: int | None = Field(default=None, description="with code offset_mismatch: where the next byte belongs")
    missing: list[str] = Field(default=[], description="with code blob_missing: the SHA-256 of each")
