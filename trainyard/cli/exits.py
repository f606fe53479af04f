"""Exit codes that scripts can rely on, and errors as sentences: what failed, where, and what to do."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from core.states import JobState
from core.wire.jobs import Job
from trainyard.errors import (
    ApiError,
    BadInput,
    CannotConnect,
    ClientError,
    Forbidden,
    InvalidRequest,
    NotConfigured,
    NotFound,
    Unauthenticated,
)

OK = 0
FAILED = 1
USAGE = 2
NO_ACCESS = 3
NOT_FOUND = 4
CANCELLED = 5
INTERRUPTED = 130

EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or spec, 3 cannot reach the server or no access, "
    "4 not found, 5 cancelled, 130 interrupted."
)

_CODES: tuple[tuple[tuple[type[ClientError], ...], int], ...] = (
    ((NotConfigured, CannotConnect, Unauthenticated, Forbidden), NO_ACCESS),
    ((NotFound,), NOT_FOUND),
    ((BadInput, InvalidRequest), USAGE),
)
_ADVICE: tuple[tuple[type[ClientError], str], ...] = (
    (CannotConnect, "Is it running? 'trainyard doctor' looks closer."),
    (Unauthenticated, "The key is read from TRAINYARD_API_KEY, else from the state folder of 'trainyard up'."),
    (Forbidden, "'trainyard keys create' makes a key with more scopes, if yours may."),
)


def code_of(error: ClientError) -> int:
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), FAILED)


def code_of_job(job: Job) -> int:
    """What a command that waited for a job ends with."""
    return {JobState.FAILED: FAILED, JobState.CANCELLED: CANCELLED}.get(job.state, OK)


@contextmanager
def reported(is_json: Callable[[], bool]) -> Iterator[None]:
    """Turns the client's errors into a message on stderr and an exit code; ``is_json`` is asked when there is one."""
    try:
        yield
    except ClientError as error:
        print(json.dumps(_as_data(error)) if is_json() else _as_text(error), file=sys.stderr)
        raise typer.Exit(code_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader (head, less) has gone, which is no failure; a second write at exit must not complain either.
        sys.stdout = None
        raise typer.Exit(OK) from None


def _as_text(error: ClientError) -> str:
    lines = [f"Error: {error}"]
    if isinstance(error, ApiError):
        lines = _lines_of_refusal(error)
    lines += [f"  {advice}" for kind, advice in _ADVICE if isinstance(error, kind)]
    return "\n".join(lines)


def _lines_of_refusal(error: ApiError) -> list[str]:
    if error.errors:
        return ["Error: the server found these problems:", *(f"  {detail.pointer or '/'}: {detail.message}" for detail in error.errors)]
    where = f" ({error.request})" if error.status == 404 and error.request else ""
    lines = [f"Error: {error}{where}"]
    if error.status >= 500 and error.request_id:
        lines.append(f"  The server's log has more under request {error.request_id}.")
    return lines


def _as_data(error: ClientError) -> dict[str, object]:
    data: dict[str, object] = {"message": str(error), "type": type(error).__name__, "exit_code": code_of(error)}
    if isinstance(error, ApiError):
        data |= {"status": error.status, "code": error.code, "param": error.param, "request_id": error.request_id}
        data["errors"] = [detail.model_dump() for detail in error.errors]
    return {"error": data}
