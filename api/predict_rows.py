"""The rows of a request to predict, from each of the forms in which they may come: JSON, a form with files, or one file itself.

A file becomes the row ``{"base64": "..."}``, so that behind this there is one form.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from api.deps import parse, read_body
from api.openapi import body_of
from core.errors import InvalidInput, Problem
from core.wire.predictions import MAX_PREDICT_BYTES, MAX_ROWS, PredictRequest, Rows

FILE_TYPES = ("image/", "audio/")
BINARY = "application/octet-stream"
FORM = "multipart/form-data"


class _FormInMemory(MultiPartParser):
    """The body is in memory and bounded already; its files need not go to a disk."""

    spool_max_size = 2 * MAX_PREDICT_BYTES


async def _rows(request: Request) -> Rows:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return _checked(parse(PredictRequest, await read_body(request, MAX_PREDICT_BYTES)).rows)
    if media_type == FORM:
        return await _files(request, await read_body(request, MAX_PREDICT_BYTES))
    if media_type.startswith(FILE_TYPES) or media_type == BINARY:
        body = await read_body(request, MAX_PREDICT_BYTES)
        if not body:
            raise InvalidInput("the body is empty")
        return (_row(body),)
    raise HTTPException(415, f"send JSON, {FORM} with files, or one file as image/..., audio/... or {BINARY}")


async def _files(request: Request, body: bytes) -> Rows:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _FormInMemory(request.headers, whole(), max_files=MAX_ROWS, max_fields=0).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the form cannot be read: {error}") from None
    contents = [await part.read() for _, part in form.multi_items() if isinstance(part, UploadFile)]
    await form.close()
    if not contents:
        raise InvalidInput("the form has no file")
    return tuple(map(_row, contents))


def _row(content: bytes) -> dict[str, Any]:
    return {"base64": b64encode(content).decode()}


def _checked(rows: Rows) -> Rows:
    """The rows themselves, when those that are files are in base 64."""
    problems = []
    for number, row in enumerate(rows):
        if isinstance(row, dict) and set(row) == {"base64"} and not _is_base64(row["base64"]):
            problems.append(Problem(f"/rows/{number}/base64", "this is not base 64 (RFC 4648, with padding, without line breaks)"))
    if problems:
        raise InvalidInput(problems=problems)
    return rows


def _is_base64(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(text) and bool(b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def predict_body() -> dict[str, Any]:
    """``openapi_extra`` of the route."""
    extra = body_of(PredictRequest, description="rows as JSON, a form with up to 64 files, or one file")
    binary = {"type": "string", "format": "binary"}
    content = extra["requestBody"]["content"]
    content[FORM] = {"schema": {"type": "object", "properties": {"file": {"type": "array", "items": binary}}, "required": ["file"]}}
    content[BINARY] = {"schema": binary}
    return extra


PredictRows = Annotated[Rows, Depends(_rows)]
