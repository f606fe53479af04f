"""Server-sent events (WHATWG HTML, 9.2): a stream that anyone can resume, because each event's id is a place in the ledger."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.auth import bearer
from api.deps import state_of
from api.threads import in_thread
from core.errors import TrainyardError

PING_SECONDS = 15.0
RETRY = b"retry: 3000\n\n"
PING = b": ping\n\n"
Cursor = TypeVar("Cursor")


@dataclass(frozen=True, slots=True)
class Chunk(Generic[Cursor]):
    """What one look at the ledger brought: rendered events, where to go on, and whether nothing can follow."""

    events: list[bytes]
    cursor: Cursor
    is_over: bool
    has_more: bool = False


def wants_events(request: Request) -> bool:
    """Whether the caller asked for a stream instead of a JSON page."""
    return "text/event-stream" in request.headers.get("accept", "")


def event(data: bytes, *, id: str, name: str | None = None) -> bytes:
    """One event. ``data`` is JSON text, which has no line breaks of its own."""
    head = f"event: {name}\n" if name else ""
    return f"id: {id}\n{head}data: ".encode() + data + b"\n\n"


def stream(request: Request, topics: tuple[str, ...], read: Callable[[Cursor], Chunk[Cursor]], cursor: Cursor) -> Response:
    """A stream of what ``read`` finds from ``cursor`` on; ``read`` runs in a thread, again whenever a topic has news."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_follow(request, topics, read, cursor), headers=headers, media_type="text/event-stream")


async def _follow(
    request: Request, topics: tuple[str, ...], read: Callable[[Cursor], Chunk[Cursor]], cursor: Cursor
) -> AsyncIterator[bytes]:
    state = state_of(request)
    yield RETRY
    with state.live.listen(*topics) as waiter:
        while not state.live.is_closed:
            try:
                # A revoked key ends its streams: the cache asks the ledger again every few seconds.
                await state.keys.caller(bearer(request))
                chunk = await in_thread(read, cursor)
            except TrainyardError:
                return  # the answer has begun, so the error cannot be told; the client reconnects and hears it then
            cursor = chunk.cursor
            for item in chunk.events:
                yield item
            if chunk.is_over:
                return
            if not chunk.has_more and not await waiter.wait(PING_SECONDS):
                yield PING
