"""Domain errors, and those of the framework, as problem+json (RFC 9457). The only module that knows error bodies.

Beside RFC 9457's members every body has ``error: {message, type, param, code}``, which clients of OpenAI's API read.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from core.errors import BlobMissing, InvalidInput, OffsetMismatch, Problem, Removed, TrainyardError
from core.wire.base import ErrorBody, ErrorDetail, ProblemDocument

log = logging.getLogger("trainyard.api")

PROBLEM_JSON = "application/problem+json"
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    410: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type", 421: "misdirected_request"}


def ERRORS(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route declares as ``responses``: these statuses, and those that every route may answer."""
    every = sorted({*statuses, 401, 403, 421, 422, 500, 503})
    return {status: {"model": ProblemDocument, "description": _title(status)} for status in every}


def problem(
    request_id: str,
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    details: tuple[Problem, ...] = (),
    headers: Mapping[str, str] | None = None,
    **extensions: Any,
) -> Response:
    """One problem document; ``extensions`` are members beyond RFC 9457's that the model declares."""
    code = code or _CODES.get(status, "internal" if status >= 500 else "invalid_request")
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    document = ProblemDocument(
        type=f"urn:trainyard:problem:{code}",
        title=_title(status),
        status=status,
        detail=message,
        instance=request_id,
        error=ErrorBody(message=message, type=kind, param=param, code=code),
        errors=[ErrorDetail(pointer=item.pointer, message=item.message, code=item.code) for item in details],
        **extensions,
    )
    return Response(document.model_dump_json(exclude_unset=True), status, headers=dict(headers or {}), media_type=PROBLEM_JSON)


def request_id_of(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(TrainyardError, _domain_error)
    app.add_exception_handler(RequestValidationError, _invalid_parameters)
    app.add_exception_handler(HTTPException, _framework_error)


def domain_problem(request_id: str, error: TrainyardError) -> Response:
    """The answer that a domain error means."""
    headers = {}
    extensions: dict[str, Any] = {}
    if error.retryable:
        headers["Retry-After"] = "1"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, OffsetMismatch):
        extensions["expected_offset"] = error.expected_offset
    if isinstance(error, BlobMissing):
        extensions["missing"] = list(error.missing)
    if isinstance(error, Removed):
        extensions |= {"removed_at": error.removed_at, "rule": error.rule}
    details = error.problems if isinstance(error, InvalidInput) else ()
    return problem(
        request_id, error.status, error.message, code=error.code, param=error.param, details=details, headers=headers, **extensions
    )


def _title(status: int) -> str:
    return HTTPStatus(status).phrase


def _domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TrainyardError)
    if error.status >= 500:
        log.warning("request failed", extra={"event": "request.failed", "code": error.code, "cause": str(error.__cause__ or error)})
    return domain_problem(request_id_of(request), error)


def _invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = tuple(Problem(_pointer(item["loc"]), str(item["msg"]), str(item["type"])) for item in error.errors())
    return domain_problem(request_id_of(request), InvalidInput(problems=details))


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {404: f"there is nothing at {request.url.path}", 405: f"{request.method} is not offered here"}
    message = messages.get(error.status_code, str(error.detail))
    return problem(request_id_of(request), error.status_code, message, headers=error.headers)
