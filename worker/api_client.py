"""The API as a node and a supervisor call it: typed requests and answers, and the three ways in which a call can fail.

core.errors.LeaseLost   the lease has passed on: kill the ranks, write nothing more
ApiUnreachable          no answer, or one that asks to try again
ApiRefused              an answer that will not change by asking again
"""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from core.errors import BlobMissing, LeaseLost
from core.wire.base import ProblemDocument, UploadReply
from core.wire.worker import (
    ArtifactsRequest,
    CheckpointRequest,
    Claim,
    ClaimRequest,
    DirectPut,
    DrainRequest,
    EventRequest,
    FinishReply,
    FinishRequest,
    HeartbeatReply,
    HeartbeatRequest,
    LogReply,
    MetricsRequest,
    RegisterReply,
    RegisterRequest,
    RenewReply,
    RenewRequest,
    StartRequest,
    UploadStatus,
)
from worker.store_connection import Elsewhere, StoreConnection, range_from

Answer = TypeVar("Answer", bound=BaseModel)
Content = bytes | Iterable[bytes]

TIMEOUT_SECONDS = 10.0
# The server makes a whole object durable and compares its digest before it answers.
BLOB_TIMEOUT_SECONDS = 120.0
READ_BACK_BYTES_PER_SECOND = 20e6  # slower than any store worth having
RETRYABLE_STATUS = frozenset({408, 425, 429})
RETRYABLE_CODES = frozenset({"request_in_flight", "upload_in_progress"})


class ApiUnreachable(Exception):
    """No answer, or one that means "try again"; ``retry_after`` is in seconds where the server named a time."""

    def __init__(self, message: str, *, code: str = "unreachable", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class ApiRefused(Exception):
    """The server understood and said no. ``expected_offset`` and ``missing`` come with ``offset_mismatch`` and ``blob_missing``."""

    def __init__(self, message: str, *, status: int, code: str, expected_offset: int | None, missing: list[str]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.expected_offset = expected_offset
        self.missing = missing


class Connection:
    """One HTTP client with keep-alive and one bearer token. Threads may share it; build it after any fork."""

    def __init__(self, url: str, token: str) -> None:
        # Loading the system's certificates takes 70 ms, on the way to a first step.
        verify = ssl.create_default_context() if url.startswith("https://") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http = httpx2.Client(
            base_url=url.rstrip("/") + "/v1/worker/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(TIMEOUT_SECONDS),
            verify=verify,
            trust_env=False,
            limits=httpx2.Limits(max_keepalive_connections=8, keepalive_expiry=4.0),
        )

    def close(self) -> None:
        self._http.close()

    def post(
        self, path: str, body: BaseModel | None = None, *, params: dict[str, int] | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> httpx2.Response:
        if body is None:
            return self._answered("POST", path, params=params, timeout=timeout)
        return self._answered("POST", path, content=body.model_dump_json().encode(), media="application/json", timeout=timeout)

    def put(self, path: str, content: Content, *, size: int, params: dict[str, int], timeout: float = TIMEOUT_SECONDS) -> httpx2.Response:
        return self._answered("PUT", path, content=content, media="application/octet-stream", size=size, params=params, timeout=timeout)

    def get(self, path: str, *, params: dict[str, int] | None = None) -> httpx2.Response:
        return self._answered("GET", path, params=params)

    @contextmanager
    def stream(self, path: str, *, start: int = 0, params: dict[str, str] | None = None) -> Iterator[Iterator[bytes] | Elsewhere]:
        """The body of an answer from byte ``start`` on, piece by piece; or where else it is to be had."""
        try:
            with self._http.stream("GET", path, headers=range_from(start), params=params) as response:
                if response.status_code == httpx2.codes.TEMPORARY_REDIRECT:
                    yield Elsewhere(response.headers.get("location", ""))
                    return
                if response.is_error:
                    response.read()
                _raise_for(response)
                yield response.iter_bytes(1 << 20)
        except httpx2.TransportError as error:
            raise ApiUnreachable(f"GET {path}: {error!r}") from error

    def _answered(
        self,
        method: str,
        path: str,
        *,
        content: Content | None = None,
        media: str | None = None,
        size: int | None = None,
        params: dict[str, int] | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> httpx2.Response:
        headers = {} if media is None else {"Content-Type": media}
        if size is not None:
            headers["Content-Length"] = str(size)  # else a body that is produced piece by piece goes out chunked
        try:
            response = self._http.request(method, path, content=content, headers=headers, params=params, timeout=timeout)
        except httpx2.TransportError as error:
            raise ApiUnreachable(f"{method} {path}: {error!r}") from error
        _raise_for(response)
        return response


class NodeApi:
    """What the Celery worker calls, with the worker's key."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = Connection(url, token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def register(self, request: RegisterRequest) -> RegisterReply:
        return _parsed(RegisterReply, self._connection.post("register", request))

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatReply:
        return _parsed(HeartbeatReply, self._connection.post("heartbeat", request))

    def claim(self, request: ClaimRequest) -> Claim | None:
        response = self._connection.post("claim", request)
        return None if response.status_code == httpx2.codes.NO_CONTENT else _parsed(Claim, response)

    def drain(self, worker_id: str) -> None:
        self._connection.post("drain", DrainRequest(worker_id=worker_id))


class AttemptApi:
    """What a supervisor calls, with the lease token of its attempt."""

    def __init__(self, url: str, attempt_id: str, lease_token: str) -> None:
        self._connection = Connection(url, lease_token)
        self._base = f"attempts/{attempt_id}"
        self._store = StoreConnection()

    def close(self) -> None:
        self._connection.close()
        self._store.close()

    def start(self, request: StartRequest) -> None:
        self._connection.post(f"{self._base}/start", request)

    def renew(self, request: RenewRequest, *, timeout: float) -> RenewReply:
        return _parsed(RenewReply, self._connection.post(f"{self._base}/renew", request, timeout=timeout))

    def add_metrics(self, request: MetricsRequest) -> None:
        self._connection.post(f"{self._base}/metrics", request)

    def add_output(self, rank: int, stream: str, offset: int, data: bytes) -> LogReply:
        response = self._connection.put(f"{self._base}/logs/{rank}/{stream}", data, size=len(data), params={"offset": offset})
        return _parsed(LogReply, response)

    def add_event(self, kind: str, message: str) -> None:
        self._connection.post(f"{self._base}/events", EventRequest(type=kind, message=message[:2000]))

    def uploaded(self, sha256: str, *, size: int | None = None) -> UploadStatus:
        """How much of an object is durable in the store; with ``size``, where all of it may be put at once."""
        params = {} if size is None or self._store.has_failed else {"size": size}
        return _parsed(UploadStatus, self._connection.get(f"{self._base}/blobs/{sha256}/upload", params=params))

    def put_directly(self, place: DirectPut, sha256: str, content: Iterable[bytes], *, size: int) -> bool:
        """Puts a whole object where the store takes it, and has it verified; False when that way is closed."""
        if not self._store.put(place, content):
            return False
        seconds = BLOB_TIMEOUT_SECONDS + size / READ_BACK_BYTES_PER_SECOND
        try:
            reply = self._connection.post(f"{self._base}/blobs/{sha256}/adopt", params={"size": size}, timeout=seconds)
        except ApiRefused as error:
            if error.code == BlobMissing.code:
                return False
            raise
        except ApiUnreachable:
            self._store.has_failed = True  # else the next try would send all of it again
            raise
        return _parsed(UploadReply, reply).is_complete

    def put_blob(self, sha256: str, content: Content, *, offset: int, size: int) -> UploadReply:
        """Sends the bytes of the object from ``offset`` to its end."""
        params = {"offset": offset, "size": size}
        path = f"{self._base}/blobs/{sha256}"
        return _parsed(UploadReply, self._connection.put(path, content, size=size - offset, params=params, timeout=BLOB_TIMEOUT_SECONDS))

    @contextmanager
    def blob(self, sha256: str, *, start: int) -> Iterator[Iterator[bytes]]:
        """The bytes of an object from ``start`` on."""
        params = {"direct": "false"} if self._store.has_failed else None
        with self._connection.stream(f"{self._base}/blobs/{sha256}", start=start, params=params) as found:
            if not isinstance(found, Elsewhere):
                yield found
                return
            try:
                with self._store.stream(found, start=start) as pieces:
                    yield pieces
            except httpx2.TransportError as error:
                raise ApiUnreachable(f"the store of {sha256}: {type(error).__name__}") from error

    def add_checkpoint(self, request: CheckpointRequest) -> None:
        self._connection.post(f"{self._base}/checkpoints", request)

    def add_artifacts(self, request: ArtifactsRequest) -> None:
        self._connection.post(f"{self._base}/artifacts", request)

    def finish(self, request: FinishRequest) -> FinishReply:
        return _parsed(FinishReply, self._connection.post(f"{self._base}/finish", request))


def _parsed(model: type[Answer], response: httpx2.Response) -> Answer:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        # A proxy's page or a half answer: whatever it was, the API did not say it.
        raise ApiUnreachable(f"{response.request.url.path} answered something else than {model.__name__}: {error}") from error


def _raise_for(response: httpx2.Response) -> None:
    if response.is_success:
        return
    problem = _problem_of(response)
    code = problem.error.code if problem else f"http_{response.status_code}"
    message = f"{response.request.method} {response.request.url.path}: {response.status_code} {problem.detail if problem else ''}".strip()
    if code == LeaseLost.code:
        raise LeaseLost(message)
    if response.is_server_error or response.status_code in RETRYABLE_STATUS or code in RETRYABLE_CODES:
        raise ApiUnreachable(message, code=code, retry_after=_retry_after(response))
    raise ApiRefused(
        message,
        status=response.status_code,
        code=code,
        expected_offset=problem.expected_offset if problem else None,
        missing=problem.missing if problem else [],
    )


def _problem_of(response: httpx2.Response) -> ProblemDocument | None:
    try:
        return ProblemDocument.model_validate_json(response.content)
    except ValidationError:
        return None  # not from the API: a proxy in between


def _retry_after(response: httpx2.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None
