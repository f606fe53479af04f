"""What the ranks of a job print: pages by byte offset, or a live stream over all its attempts."""

import json
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from api.deps import ApiState, JobId, Reader, state_of
from api.errors import ERRORS
from api.respond import json_response
from api.sse import Chunk, event, stream, wants_events
from core.output.follow import Place, Wanted, find_news
from core.output.read import DEFAULT_LIMIT, MAX_LIMIT, MIN_LIMIT, StreamState, find_output, find_piece, render
from core.wire.jobs import LogPage

router = APIRouter(prefix="/jobs/{job_id}/logs", tags=["logs"])

StreamName = Literal["stdout", "stderr"]
_EVENTS = {200: {"description": "a page, or a stream of events `attempt`, `log` and `end`", "content": {"text/event-stream": {}}}}


@router.get(
    "",
    summary="Read or follow what a job prints",
    response_model=LogPage,
    responses={**ERRORS(404), 204: {"description": "all was read"}, **_EVENTS},
)
def read_logs(
    request: Request,
    caller: Reader,
    job_id: JobId,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="by default the newest")] = None,
    rank: Annotated[int | None, Query(ge=0, le=65_535, description="of a page: by default 0; of a stream: all")] = None,
    stream: Annotated[StreamName | None, Query(description="of a page: by default stdout; of a stream: both")] = None,
    offset: Annotated[int, Query(ge=0, le=2**53, description="first byte of the page")] = 0,
    limit: Annotated[int, Query(ge=MIN_LIMIT, le=MAX_LIMIT, description="bytes of a page at most")] = DEFAULT_LIMIT,
    last_event_id: Annotated[str | None, Header(description="of a stream: go on behind this event")] = None,
) -> Response:
    """A page of one stream as text; ask on with `next_offset` until `is_complete`. Bytes that are no UTF-8 are replaced, and no
    character is cut by the end of a page. With `Accept: text/event-stream` new output arrives as it is printed: an event `log`
    is a page, `attempt` says that a new attempt begins, `end` that nothing will follow.
    """
    state = state_of(request)
    if wants_events(request):
        return _follow(request, caller.project_id, job_id, attempt, Wanted(rank, stream), last_event_id)
    with state.db.snapshot() as tx:
        output = find_output(tx, caller.project_id, job_id, attempt)
        name = (rank or 0, stream or "stdout")
        piece = find_piece(tx, output, output.streams.get(name, StreamState(*name)), offset, limit)
    return json_response(render(output, piece, state.store))


def _follow(request: Request, project_id: str, job_id: str, attempt: int | None, wanted: Wanted, last_event_id: str | None) -> Response:
    start = Place.parse(last_event_id) if last_event_id else None
    if start is None and attempt is not None:
        start = Place(attempt - 1) if attempt == 1 else None
    read = partial(_news, state_of(request), project_id, job_id, wanted)
    first = read(start)
    if start is not None and first.is_over and len(first.events) == 1:
        return Response(status_code=204)  # tells an EventSource to stop asking
    return stream(request, job_id, read, start)
