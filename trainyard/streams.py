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
    while True:
        before = last_id
        broken: httpx2.TransportError | None = None
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        call = Call(method="GET", path=path, params=params, headers=headers, patience=SILENCE_SECONDS)
        with transport.stream(call) as response:
            if response.status_code == NO_CONTENT:
                return
            _check_type(response)
            try:
                for event in httpx2.EventSource(response, max_event_size=LARGEST_EVENT):
                    if event.data:
                        last_id = event.id or last_id
                        yield event
            except httpx2.TransportError as error:
                broken = error
        failures = 0 if last_id != before else failures + 1
        # An ordinary ending is asked about at once: after the last event the answer is 204.
        if broken is not None or failures > 1:
            _pause(transport, max(failures, 1), broken)


def _check_type(response: httpx2.Response) -> None:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        raise BadAnswer(f"asked {response.request.url.path} for an event stream, and was answered {kind or 'something without a type'}")


def _pause(transport: Transport, failures: int, broken: Exception | None) -> None:
    delay = transport.retry.delay(failures)
    if delay is None:
        raise CannotConnect(f"the event stream of {transport.url} keeps ending: {broken or 'without an event'}") from broken
    transport.sleep(delay)
