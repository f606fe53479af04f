"""The byte store, where the API sends us to it. It is shown no token: the URL alone says what is allowed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

from core.wire.worker import DirectPut

CONNECT_SECONDS = 10.0
TIMEOUT_SECONDS = 120.0  # a store makes a large object durable before it answers


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where bytes lie; a secret while it lasts."""

    url: str = field(repr=False)


class StoreConnection:
    """Built at the first use, after any fork. Once it has failed, the API passes the bytes on instead: ``has_failed`` says so."""

    def __init__(self) -> None:
        self._http: httpx2.Client | None = None
        self.has_failed = False

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    def put(self, place: DirectPut, content: Iterable[bytes]) -> bool:
        """Whether the store has taken all of ``content``, which may end early by an exception of its own."""
        try:
            is_taken = self._client().put(place.url, content=content, headers=place.headers).is_success
        except (httpx2.TransportError, httpx2.InvalidURL):
            is_taken = False
        self.has_failed = not is_taken
        return is_taken

    @contextmanager
    def stream(self, place: Elsewhere, *, start: int) -> Iterator[Iterator[bytes]]:
        """The bytes from ``start`` on. httpx2.TransportError when the store does not send them."""
        try:
            with self._client().stream("GET", place.url, headers={"Accept-Encoding": "identity", **range_from(start)}) as response:
                if response.status_code != (httpx2.codes.PARTIAL_CONTENT if start else httpx2.codes.OK):
                    raise httpx2.RemoteProtocolError(f"the store answered {response.status_code}")
                yield response.iter_bytes(1 << 20)
        except httpx2.InvalidURL as error:
            self.has_failed = True
            raise httpx2.UnsupportedProtocol("the API named no place") from error
        except httpx2.TransportError:
            self.has_failed = True
            raise

    def _client(self) -> httpx2.Client:
        if self._http is None:
            self._http = httpx2.Client(timeout=httpx2.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS), trust_env=False)
        return self._http


def range_from(start: int) -> dict[str, str]:
    """The header that asks for the bytes from ``start`` on; none for all of them."""
    return {"Range": f"bytes={start}-"} if start else {}
