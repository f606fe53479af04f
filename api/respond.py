"""Answers as bytes: a wire model is rendered once, straight to JSON, after its transaction has ended.

Routes return these responses themselves; FastAPI's own second validation and encoding would cost more than the query.
"""

from collections.abc import Mapping

from fastapi import Response
from pydantic import BaseModel

JSON = "application/json"


def json_response(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The model as a JSON answer."""
    return json_bytes(model.__pydantic_serializer__.to_json(model), status, headers)


def json_bytes(body: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON text that is already rendered, such as a stored answer."""
    return Response(body, status, headers=None if headers is None else dict(headers), media_type=JSON)


def not_modified(etag: str) -> Response:
    """304: the caller's copy is still right."""
    return Response(None, 304, headers={"ETag": etag, "Cache-Control": "no-cache"})


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this entity tag; weak and strong forms compare alike (RFC 9110, 13.1.2)."""
    if not if_none_match:
        return False
    named = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in named or etag.removeprefix("W/") in named
