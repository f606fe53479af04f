"""How the server refuses: MLflow's error codes with the HTTP status that goes with each."""

from typing import Any

Json = dict[str, Any]


class Refused(Exception):
    """Answered as ``{error_code, message}``. The client repeats 408, 429 and 5xx for minutes: none of those but where it helps."""

    status = 400
    error_code = "INVALID_PARAMETER_VALUE"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ClientGone(Exception):
    """The connection ended, or fell silent, in the middle of a body: there is nobody to answer."""


class BadRequest(Refused):
    """The request cannot be understood as HTTP or JSON."""

    error_code = "BAD_REQUEST"


class InvalidValue(Refused):
    """A field is absent, of another type, or out of range."""


class Unauthenticated(Refused):
    status = 401
    error_code = "UNAUTHENTICATED"


class Forbidden(Refused):
    status = 403
    error_code = "PERMISSION_DENIED"


class Absent(Refused):
    status = 404
    error_code = "RESOURCE_DOES_NOT_EXIST"


class NoRoute(Refused):
    status = 404
    error_code = "ENDPOINT_NOT_FOUND"


class TooLarge(Refused):
    status = 413
    error_code = "RESOURCE_LIMIT_EXCEEDED"


class NoSpace(Refused):
    status = 507
    error_code = "RESOURCE_LIMIT_EXCEEDED"
