"""Everything that can go wrong on the client's side, in one tree.

ClientError
├── NotConfigured        no server or key is known
├── BadInput             a spec file cannot be read, or is not JSON
├── CannotConnect        no answer, after every try
├── BadAnswer            an answer that is not of this API, or of a much newer one
├── DownloadFailed       bytes that differ from what the server announced, or a disk that refuses them
│   └── UnsafePath       an artifact's name that could leave the download folder
└── ApiError             the server refused, with its reasons (problem+json)
    ├── InvalidRequest   400, 413, 415, 422
    ├── Unauthenticated  401
    ├── Forbidden        403
    ├── NotFound         404
    ├── Conflict         409
    ├── RateLimited      429
    └── ServerError      5xx
"""

import httpx2
from pydantic import ValidationError

from core.wire.base import ErrorDetail, ProblemDocument

MAX_QUOTED = 200


class ClientError(Exception):
    """The base of every error that ``trainyard`` raises on purpose."""


class NotConfigured(ClientError):
    """No server or key is known."""


class BadInput(ClientError):
    """What was to be sent cannot be read."""


class CannotConnect(ClientError):
    """The server could not be reached."""


class BadAnswer(ClientError):
    """The answer is not one that this client understands."""


class DownloadFailed(ClientError):
    """A file could not be downloaded whole."""


class UnsafePath(DownloadFailed):
    """The server names a file that would lie outside the download folder."""


class ApiError(ClientError):
    """The server's refusal.

    ``code`` is stable and for programs, ``message`` is for people, ``param`` names the culprit, ``errors`` holds every
    finding about the body with its JSON pointer, ``request_id`` is what the server's log knows the request by, and
    ``request`` is its method and path.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        param: str | None = None,
        errors: tuple[ErrorDetail, ...] = (),
        request_id: str | None = None,
        request: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.errors = errors
        self.request_id = request_id
        self.request = request


class InvalidRequest(ApiError):
    """The request is not valid; ``errors`` says where and why."""


class Unauthenticated(ApiError):
    """The key is missing, wrong, expired or revoked."""


class Forbidden(ApiError):
    """The key lacks a scope."""


class NotFound(ApiError):
    """There is no such object in this key's project."""


class Removed(NotFound):
    """It was there; the project keeps such things no longer than its retention says."""


class Conflict(ApiError):
    """The request does not fit the present state."""


class RateLimited(ApiError):
    """Too many requests."""


class ServerError(ApiError):
    """The server failed."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Removed,
    429: RateLimited,
}


def error_of(response: httpx2.Response) -> ApiError:
    """The error that a read response with a status of 400 or more means, whoever wrote its body."""
    status = response.status_code
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else InvalidRequest)
    request_id = response.headers.get("x-request-id")
    request = f"{response.request.method} {response.request.url.path}"
    try:
        problem = ProblemDocument.model_validate_json(response.content)
    except ValidationError:
        text = " ".join(response.text.split())[:MAX_QUOTED] or "(no body)"
        return kind(f"the server answered {status}: {text}", status=status, code=f"http_{status}", request_id=request_id, request=request)
    return kind(
        problem.error.message,
        status=status,
        code=problem.error.code,
        param=problem.error.param,
        errors=tuple(problem.errors),
        request_id=problem.instance or request_id,
        request=request,
    )
