"""Attempts: every try of a job, numbered, with why it ended."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.deps import After, JobId, Limit, Reader, state_of
from api.errors import ERRORS
from api.respond import json_response
from api.strict_route import StrictRoute
from core.jobs.queries import get_attempt, list_attempts
from core.wire.base import Page
from core.wire.jobs import Attempt

router = APIRouter(prefix="/jobs/{job_id}/attempts", tags=["jobs"], route_class=StrictRoute)


@router.get("", summary="List a job's attempts, newest first", response_model=Page[Attempt], responses=ERRORS(404))
def list_all_attempts(request: Request, caller: Reader, job_id: JobId, limit: Limit = 20, after: After = None) -> Response:
    with state_of(request).db.read() as tx:
        page = list_attempts(tx, caller.project_id, job_id, after=after, limit=limit)
    return json_response(page)


@router.get("/{number}", summary="Look at one attempt", response_model=Attempt, responses=ERRORS(404))
def get_one_attempt(
    request: Request, caller: Reader, job_id: JobId, number: Annotated[int, Path(ge=1, le=2**31 - 1, description="counted from 1")]
) -> Response:
    with state_of(request).db.read() as tx:
        attempt = get_attempt(tx, caller.project_id, job_id, number)
    return json_response(attempt)
