"""The shapes that every resource shares."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Item = TypeVar("Item")


def rfc3339(instant: datetime) -> str:
    """An aware UTC instant as text, to the microsecond and with Z."""
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(rfc3339, when_used="json")]


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


class Identified(Protocol):
    @property
    def id(self) -> str: ...


Listed = TypeVar("Listed", bound=Identified)


def page_of(items: Sequence[Listed], limit: int) -> "Page[Listed]":  # quoted: pydantic would look for a schema of the bound
    """The first ``limit`` items as a page; the caller has read one more, if there is one."""
    shown = list(items[:limit])
    first_id, last_id = (shown[0].id, shown[-1].id) if shown else (None, None)
    return Page(data=shown, has_more=len(items) > limit, first_id=first_id, last_id=last_id)


class UploadReply(WireModel):
    """How far an object has come into the store."""

    offset: int = Field(description="bytes that are durable")
    is_complete: bool


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
    removed_at: Instant | None = Field(default=None, description="with code removed_by_retention: when it was removed")
    rule: str | None = Field(default=None, description="with code removed_by_retention: the project's rule, like `logs_days=30`")
