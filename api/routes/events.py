"""Events: a job's journal as pages, as a long-poll, or as a stream that resumes without a gap or a repeat."""

import time
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from api.deps import ApiState, JobId, Limit, Reader, state_of
from api.errors import ERRORS
from api.respond import json_response
from api.sse import Chunk, event, stream, wants_events
from api.strict_route import StrictRoute
from api.threads import in_thread
from core.jobs.events import list_events
from core.jobs.queries import require_job
from core.states import FINAL
from core.wire.base import Page
from core.wire.jobs import Event

router = APIRouter(prefix="/jobs/{job_id}/events", tags=["jobs"], route_class=StrictRoute)

STREAM_CHUNK = 200
Seq = Annotated[int | None, Query(ge=0, le=2**31 - 1, description="only events after this sequence number")]
LastEventId = Annotated[str | None, Header(pattern=r"^[0-9]{1,10}$", description="where a broken stream goes on; wins over `after`")]
Wait = Annotated[float, Query(ge=0, le=60, description="JSON only: seconds to wait for an event after `after`")]


@router.get(
    "",
    summary="Read a job's events, oldest first, or follow them",
    response_model=Page[Event],
    responses={
        **ERRORS(404),
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string", "description": "one event each, `id` is its sequence number"}}}
        },
        204: {"description": "A stream was asked for, the job has ended and everything was already sent"},
    },
)
async def read_events(
    request: Request,
    caller: Reader,
    job_id: JobId,
    after: Seq = None,
    limit: Limit = 100,
    wait: Wait = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """A page as JSON; with `Accept: text/event-stream` a stream that ends after the job's last event."""
    state = state_of(request)
    seen = int(last_event_id) if last_event_id is not None else after or 0

    def read(cursor: int) -> Chunk[int]:
        return _read_chunk(state, caller.project_id, job_id, cursor)

    if wants_events(request):
        first = await in_thread(read, seen)  # an unknown job must answer 404, so look before the stream begins
        if first.is_over and not first.events:
            return Response(status_code=204)
        return stream(request, (job_id,), read, seen)
    page = await _page(state, caller.project_id, job_id, seen, limit=limit, wait=wait)
    return json_response(page)


async def _page(state: ApiState, project_id: str, job_id: str, after: int, *, limit: int, wait: float) -> Page[Event]:
    deadline = time.monotonic() + wait
    with state.live.listen(job_id) as waiter:
        while True:
            events, is_over = await in_thread(_read, state, project_id, job_id, after, limit + 1)
            seconds = deadline - time.monotonic()
            if events or is_over or seconds <= 0 or not await waiter.wait(seconds):
                break
    shown = events[:limit]
    ends = (str(shown[0].seq), str(shown[-1].seq)) if shown else (None, None)
    return Page[Event](data=shown, has_more=len(events) > limit, first_id=ends[0], last_id=ends[1])


def _read_chunk(state: ApiState, project_id: str, job_id: str, after: int) -> Chunk[int]:
    events, is_ended = _read(state, project_id, job_id, after, STREAM_CHUNK)
    is_full = len(events) == STREAM_CHUNK
    return Chunk(
        events=[event(item.__pydantic_serializer__.to_json(item), id=str(item.seq)) for item in events],
        cursor=events[-1].seq if events else after,
        is_over=is_ended and not is_full,
        has_more=is_full,
    )


def _read(state: ApiState, project_id: str, job_id: str, after: int, limit: int) -> tuple[list[Event], bool]:
    """Events after this one, and whether none can follow. The job is read first: an event between the reads is then not missed."""
    with state.db.read() as tx:
        job = require_job(tx, project_id, job_id)
        return list_events(tx, project_id, job_id, after=after, limit=limit), job.state in FINAL
