"""Follows a server-sent event stream over as many connections as it takes, without a gap and without a repeat.

The place in the stream is the id of the last *whole* event; a cut connection goes on from there. The server says that
nothing can follow by 204 (WHATWG HTML, 9.2.3).
"""

from collections.abc import Iterator

import httpx2

from trainyard.errors import BadAnswer, CannotConnect
from trainyard.transport import Call, Parameters, Transport

SILENCE_SECONDS = 45.0  # the server pings every 15 s
LARGEST_EVENT = 16 << 20
NO_CONTENT = 204


def follow(
    transport: Transport, path: str, params: Parameters | None = None, *, last_id: str | None = None
) -> Iterator[httpx2.ServerSentEvent]:
    """Events after ``last_id`` (from the first on when None) until the server says that none can follow.

    Raises ApiError, and CannotConnect when the server stays away for longer than the transport's retries.
    """
    failures = 0
    connection = _Connection(last_id)
    while not connection.is_over:
        before = connection.last_id
        yield from connection.events(transport, path, params)
        failures = 0 if connection.last_id != before else failures + 1
        # An ordinary ending is asked about at once: after the last event the answer is 204.
        if connection.trouble is not None or failures > 1:
            _pause(transport, max(failures, 1), connection.trouble)


class _Connection:
    """One connection after another, and the place in the stream that they have come to."""

    def __init__(self, last_id: str | None) -> None:
        self.last_id = last_id
        self.is_over = False
        self.has_begun = False
        self.trouble: httpx2.TransportError | None = None

    def events(self, transport: Transport, path: str, params: Parameters | None) -> Iterator[httpx2.ServerSentEvent]:
        """The events of one more connection; how it ended is left in ``is_over`` and ``trouble``."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        retry = transport.retry.patient() if self.has_begun else None
        call = Call(method="GET", path=path, params=params, headers=headers, patience=SILENCE_SECONDS, retry=retry)
        with transport.stream(call) as response:
            self.has_begun = True
            self.is_over = response.status_code == NO_CONTENT
            if self.is_over:
                return
            _check_type(response)
            try:
                yield from self._read(response)
                self.trouble = None
            except httpx2.TransportError as error:
                self.trouble = error

    def _read(self, response: httpx2.Response) -> Iterator[httpx2.ServerSentEvent]:
        for event in httpx2.EventSource(response, max_event_size=LARGEST_EVENT):
            if event.data:
                self.last_id = event.id or self.last_id
                yield event


def _check_type(response: httpx2.Response) -> None:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        raise BadAnswer(f"asked {response.request.url.path} for an event stream, and was answered {kind or 'something without a type'}")


def _pause(transport: Transport, failures: int, broken: Exception | None) -> None:
    delay = transport.retry.patient().delay(failures)
    if delay is None:
        raise CannotConnect(f"the event stream of {transport.url} keeps ending: {broken or 'without an event'}") from broken
    transport.sleep(delay)
