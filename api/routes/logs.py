"""What the ranks of a job print: pages by byte offset, or a live stream over all its attempts."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from api.deps import ApiState, JobId, Reader, state_of
from api.errors import ERRORS
from api.respond import json_response
from api.sse import Chunk, event, wants_events
from api.sse import stream as event_stream
from api.strict_route import StrictRoute
from core.output.follow import Place, Wanted, find_news
from core.output.read import DEFAULT_LIMIT, MAX_LIMIT, MIN_LIMIT, StreamState, find_output, find_piece, render
from core.wire.jobs import LogPage

router = APIRouter(prefix="/jobs/{job_id}/logs", tags=["logs"], route_class=StrictRoute)

StreamName = Literal["stdout", "stderr"]
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a page, or a stream of events `attempt`, `log` and `end`",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "a stream was asked for, the job has ended and all was read"},
}


@router.get(
    "",
    summary="Read or follow what a job prints",
    response_model=LogPage,
    responses={**ERRORS(404, 410), **_EVENTS},
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
        return _follow(request, _Follower(state, caller.project_id, job_id, Wanted(rank, stream)), attempt, last_event_id)
    with state.db.snapshot() as tx:
        output = find_output(tx, caller.project_id, job_id, attempt)
        name = (rank or 0, stream or "stdout")
        piece = find_piece(tx, output, output.streams.get(name, StreamState(*name)), offset, limit)
    return json_response(render(output, piece, state.store))


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a follower stands; without a place it begins with the newest attempt."""

    place: Place | None
    is_announced: bool = False  # the follower knows that this attempt has begun


@dataclass(frozen=True, slots=True)
class _Follower:
    """Who follows which streams of which job."""

    state: ApiState
    project_id: str
    job_id: str
    wanted: Wanted

    def read(self, position: _Position) -> Chunk[_Position]:
        """What the ledger has behind ``position``, as events."""
        with self.state.db.snapshot() as tx:
            output, pieces = find_news(tx, self.project_id, self.job_id, position.place, self.wanted)
        place = position.place or Place(output.attempt)
        events: list[bytes] = []
        if output.attempt and not position.is_announced:
            events.append(event(json.dumps({"attempt": output.attempt}).encode(), id=str(place), name="attempt"))
        has_read = False
        for page in [render(output, piece, self.state.store) for piece in pieces]:
            if page.next_offset > page.offset:  # else a character waits for its last bytes
                has_read = True
                place = place.moved(page.rank, page.stream, page.next_offset)
                events.append(event(page.model_copy(update={"streams": []}).model_dump_json().encode(), id=str(place), name="log"))
        if has_read or not output.is_closed:
            return Chunk(events, _Position(place, is_announced=True), is_over=False, has_more=has_read)
        if output.next_attempt is not None:
            return Chunk(events, _Position(Place(output.next_attempt)), is_over=False, has_more=True)
        if output.is_job_over:
            events.append(event(b"{}", id=str(place), name="end"))
        return Chunk(events, _Position(place, is_announced=True), is_over=output.is_job_over)


def _follow(request: Request, follower: _Follower, attempt: int | None, last_event_id: str | None) -> Response:
    if last_event_id:
        start = _Position(Place.parse(last_event_id), is_announced=True)
    else:
        start = _Position(Place(attempt) if attempt is not None else None)
    first = follower.read(start)  # a foreign job is told now; once a stream has begun no error can be
    if last_event_id and first.is_over and len(first.events) == 1:
        return Response(status_code=204)  # only the end would follow: an EventSource stops asking
    return event_stream(request, (follower.job_id, f"{follower.job_id}/logs"), follower.read, start)
