"""Workers: the nodes, as an operator sees them, and taking one out of service."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.deps import Admin, After, Limit, Reader, require_operator, state_of
from api.errors import ERRORS
from api.respond import json_response
from api.strict_route import StrictRoute
from core.wire.base import Page
from core.wire.worker import Worker
from core.workers.drain import drain, undrain
from core.workers.queries import get_worker, list_workers

router = APIRouter(prefix="/workers", tags=["workers"], route_class=StrictRoute)
WorkerId = Annotated[str, Path(max_length=64, description="a worker's id, `wrk_...`")]


@router.get("", summary="List the workers", response_model=Page[Worker], responses=ERRORS())
def list_all_workers(request: Request, caller: Reader, limit: Limit = 50, after: After = None) -> Response:
    state = state_of(request)
    with state.db.read() as tx:
        page = list_workers(tx, caller.project_id, after=after, limit=limit)
    return json_response(page)


@router.get("/{worker_id}", summary="Look at one worker", response_model=Worker, responses=ERRORS(404))
def get_one_worker(request: Request, caller: Reader, worker_id: WorkerId) -> Response:
    state = state_of(request)
    with state.db.read() as tx:
        worker = get_worker(tx, caller.project_id, worker_id)
    return json_response(worker)


@router.post("/{worker_id}/drain", summary="Drain a worker", response_model=Worker, responses=ERRORS(404))
def drain_worker(request: Request, caller: Admin, worker_id: WorkerId) -> Response:
    """It claims nothing more; its jobs write a checkpoint and go on elsewhere, without spending a retry."""
    require_operator(caller)
    state = state_of(request)
    with state.db.begin() as tx:
        jobs = drain(tx, worker_id, now=state.clock.now())
        worker = get_worker(tx, caller.project_id, worker_id)
    state.live.notify(*jobs)
    return json_response(worker)


@router.post("/{worker_id}/undrain", summary="Put a drained worker back into service", response_model=Worker, responses=ERRORS(404))
def undrain_worker(request: Request, caller: Admin, worker_id: WorkerId) -> Response:
    require_operator(caller)
    state = state_of(request)
    with state.db.begin() as tx:
        undrain(tx, worker_id)
        worker = get_worker(tx, caller.project_id, worker_id)
    state.doorbell.ring()
    return json_response(worker)
