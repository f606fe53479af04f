"""Metrics of a job: thinned series, or new points as they come."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from api.deps import ApiState, JobId, Reader, state_of
from api.errors import ERRORS
from api.respond import json_response
from api.sse import Chunk, event, stream, wants_events
from api.strict_route import StrictRoute
from core.jobs.queries import require_job
from core.metrics.live import NewPoints, Place, as_json, points_after, present_place
from core.metrics.read import DEFAULT_POINTS, job_metrics
from core.states import FINAL
from core.wire.jobs import JobMetrics

router = APIRouter(prefix="/jobs/{job_id}/metrics", tags=["metrics"], route_class=StrictRoute)

Names = Annotated[list[Annotated[str, Query(max_length=128)]], Query(description="these metrics only; by default all", max_length=256)]
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the series, or a stream of events `series`, `points` and `end`",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "a stream was asked for, the job has ended and all was read"},
}


@router.get(
    "",
    summary="Get or follow a job's metrics",
    response_model=JobMetrics,
    responses={**ERRORS(404), **_EVENTS},
)
def read_metrics(
    request: Request,
    caller: Reader,
    job_id: JobId,
    name: Names = [],  # noqa: B006  # FastAPI copies it
    max_points: Annotated[int, Query(ge=2, le=10_000, description="per metric; minima and maxima survive the thinning")] = DEFAULT_POINTS,
    attempt: Annotated[
        int | None, Query(ge=1, le=2**31 - 1, description="one attempt's own points; by default all attempts as one")
    ] = None,
    last_event_id: Annotated[str | None, Header(description="of a stream: go on behind this event")] = None,
) -> Response:
    """With `Accept: text/event-stream` the thinned series of all attempts come first, as an event `series`; then every new point,
    in events `points`. Resumed by `Last-Event-ID`, a stream goes on with the first point that its reader does not have; who is
    more than 50,000 points behind gets the thinned series again.
    """
    state = state_of(request)
    if wants_events(request):
        return _follow(request, _Follower(state, caller.project_id, job_id, tuple(name), max_points), last_event_id)
    with state.db.snapshot() as tx:
        metrics = job_metrics(tx, caller.project_id, job_id, names=name, max_points=max_points, attempt=attempt)
    return json_response(metrics)


@dataclass(frozen=True, slots=True)
class _Follower:
    """Who follows which metrics of which job."""

    state: ApiState
    project_id: str
    job_id: str
    names: tuple[str, ...]
    max_points: int

    def read(self, place: Place | None) -> Chunk[Place | None]:
        """What the ledger has behind ``place``, as events."""
        with self.state.db.snapshot() as tx:
            is_over = require_job(tx, self.project_id, self.job_id).state in FINAL
            news = points_after(tx, self.job_id, place, self.names) if place is not None else None
            if news is None:
                place = present_place(tx, self.job_id)
                series = job_metrics(tx, self.project_id, self.job_id, names=self.names, max_points=self.max_points)
                events = [event(series.model_dump_json().encode(), id=str(place), name="series")]
            else:
                events = [event(_points_json(points), id=str(points.place), name="points") for points in news]
                place = news[-1].place if news else place
        if is_over:
            events.append(event(b"{}", id=str(place), name="end"))
        return Chunk(events, place, is_over=is_over)


def _follow(request: Request, follower: _Follower, last_event_id: str | None) -> Response:
    start = Place.parse(last_event_id) if last_event_id else None
    first = follower.read(start)  # a foreign job is told now; once a stream has begun no error can be
    if start is not None and first.is_over and len(first.events) == 1:
        return Response(status_code=204)  # only the end would follow: an EventSource stops asking
    return stream(request, (follower.job_id, f"{follower.job_id}/metrics"), follower.read, start)


def _points_json(news: NewPoints) -> bytes:
    return json.dumps({"attempt": news.place.attempt, "series": {name: as_json(points) for name, points in news.series.items()}}).encode()
