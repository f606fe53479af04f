"""Checkpoints of a job that the store holds whole."""

from fastapi import APIRouter, Request, Response

from api.deps import After, JobId, Limit, Reader, state_of
from api.errors import ERRORS
from api.respond import json_response
from api.strict_route import StrictRoute
from core.artifacts.checkpoints import list_checkpoints
from core.wire.base import Page
from core.wire.jobs import Checkpoint

router = APIRouter(prefix="/jobs/{job_id}/checkpoints", tags=["checkpoints"], route_class=StrictRoute)


@router.get("", summary="List a job's checkpoints", response_model=Page[Checkpoint], responses=ERRORS(404, 410))
def list_of_job(request: Request, caller: Reader, job_id: JobId, after: After = None, limit: Limit = 50) -> Response:
    """Newest first. The newest two and the best are kept; a job resumes from the furthest one that verifies."""
    with state_of(request).db.read() as tx:
        page = list_checkpoints(tx, caller.project_id, job_id, after=after, limit=limit)
    return json_response(page)
