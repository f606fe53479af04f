"""One HTTP conversation with one server: the key, the retries, and errors as exceptions.

Nothing here knows a resource. Requests are tried again after a connection error only when doing them twice does no harm;
a refused connection and the answers 429 and 503 mean that nothing was done, so these are always tried again.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ValidationError

from trainyard.errors import BadAnswer, CannotConnect, error_of
from trainyard.retrying import TRANSIENT, RetryPolicy
from trainyard.settings import ClientSettings

Model = TypeVar("Model", bound=BaseModel)
Parameters = Mapping[str, str | int | float | bool | list[str] | None]
LOOPBACK = ("localhost", "127.0.0.1", "::1")
NOTHING_WAS_DONE = (429, 503)
TRIES_OF_THE_PATIENT = 24


def package_version() -> str:
    try:
        return version("trainyard")
    except PackageNotFoundError:
        return "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: its place, what it carries, and whether doing it twice does no harm."""

    method: str
    path: str
    params: Parameters | None = None
    body: bytes | Iterable[bytes] | None = None  # pieces are asked for anew at every try
    headers: Mapping[str, str] | None = None
    is_repeatable: bool = True
    patience: float | None = None  # seconds to wait for bytes, where that is not the transport's usual
    retry: RetryPolicy | None = None  # likewise


class Transport:
    """``answer`` for a whole answer, ``stream`` for one that is read as it comes."""

    def __init__(
        self,
        settings: ClientSettings,
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = settings.url
        self.timeout = timeout
        self.retry = retry or RetryPolicy()
        self.sleep = sleep
        headers = {"Authorization": f"Bearer {settings.api_key}", "User-Agent": f"trainyard/{package_version()}"}
        # A proxy of the environment is for the outside: a server on this machine is spoken to directly.
        self._http = httpx2.Client(base_url=settings.url, headers=headers, timeout=timeout, trust_env=not _is_local(settings.url))
        self._bare: httpx2.Client | None = None

    def close(self) -> None:
        self._http.close()
        if self._bare is not None:
            self._bare.close()

    @contextmanager
    def patient(self) -> Iterator[None]:
        """While it lasts every call rides out an outage of a minute or two: for one who has heard of the server before."""
        usual, self.retry = self.retry, replace(self.retry, max_tries=max(self.retry.max_tries, TRIES_OF_THE_PATIENT))
        try:
            yield
        finally:
            self.retry = usual

    def answer(self, call: Call) -> httpx2.Response:
        """The answer, with a status under 400. Raises ApiError and CannotConnect."""
        return self._first_good(call, whole=True)

    @contextmanager
    def stream(self, call: Call) -> Iterator[httpx2.Response]:
        """The same, with the body still to be read. Reading it raises httpx2.TransportError.

        Where the server names another place for the bytes, they are asked for there.
        """
        response = self._first_good(call, whole=False)
        if response.status_code == httpx2.codes.TEMPORARY_REDIRECT:
            response.close()
            response = self._elsewhere(response.headers.get("location", ""), call)
        try:
            yield response
        finally:
            response.close()

    def get(self, model: type[Model], path: str, params: Parameters | None = None) -> Model:
        return read(model, self.answer(Call(method="GET", path=path, params=params)))

    def _first_good(self, call: Call, *, whole: bool) -> httpx2.Response:
        tries, retry = 0, call.retry or self.retry
        while True:
            tries += 1
            try:
                response = self._send(call, whole=whole)
            except httpx2.TransportError as error:
                delay = retry.delay(tries) if call.is_repeatable or isinstance(error, httpx2.ConnectError) else None
                if delay is None:
                    raise CannotConnect(f"cannot reach {self.url}: {_words(error)}") from error
            except httpx2.InvalidURL as error:
                raise CannotConnect(f"{self.url} is not an address: {error}") from error
            else:
                if response.status_code < 400:
                    return response
                may_repeat = _is_transient(response) and (call.is_repeatable or response.status_code in NOTHING_WAS_DONE)
                delay = retry.delay(tries, response.headers.get("retry-after")) if may_repeat else None
                if delay is None:
                    raise _refusal(response)
                response.close()
            self.sleep(delay)

    def _elsewhere(self, location: str, call: Call) -> httpx2.Response:
        """What a presigned URL answers: it gets neither our key nor a cookie. The server itself where that place does not answer."""
        try:
            request = self._store(location).build_request("GET", location, headers=dict(call.headers or {}))
            response = self._store(location).send(request, stream=True)
        except (httpx2.TransportError, httpx2.InvalidURL):
            response = None
        if response is not None and response.is_success:
            return response
        if response is not None:
            response.close()
        return self._first_good(replace(call, params={**(call.params or {}), "direct": "false"}), whole=False)

    def _store(self, location: str) -> httpx2.Client:
        if self._bare is None:
            self._bare = httpx2.Client(timeout=self.timeout, trust_env=not _is_local(location))
        return self._bare

    def _send(self, call: Call, *, whole: bool) -> httpx2.Response:
        params = {name: value for name, value in (call.params or {}).items() if value is not None}
        timeout = httpx2.Timeout(self.timeout, read=call.patience or self.timeout)
        headers = dict(call.headers or {})
        if call.body is not None:
            headers.setdefault("Content-Type", "application/json")
        request = self._http.build_request(call.method, call.path, params=params, content=call.body, headers=headers, timeout=timeout)
        return self._http.send(request, stream=not whole)


def read(model: type[Model], response: httpx2.Response) -> Model:
    """The body as this model; BadAnswer when it is something else."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadAnswer(
            f"the answer to {response.request.method} {response.request.url.path} is not understood ({place}: {first['msg']}); "
            f"is this a Trainyard server, and as new as this client ({package_version()})?"
        ) from None


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def _is_transient(response: httpx2.Response) -> bool:
    # 409 with Retry-After: the same Idempotency-Key is being answered right now.
    return response.status_code in TRANSIENT or (response.status_code == 409 and "retry-after" in response.headers)


def _refusal(response: httpx2.Response) -> Exception:
    try:
        response.read()
    except httpx2.TransportError:
        return CannotConnect(f"the server answered {response.status_code} and broke off")
    finally:
        response.close()
    return error_of(response)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
