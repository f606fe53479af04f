"""Jobs: submit, validate, list, look, wait, cancel, pause, resume."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from api.deps import After, ApiState, JobId, JsonBody, Limit, Reader, Submitter, state_of
from api.errors import ERRORS
from api.idempotent import Answer, IdempotencyKey, once
from api.job_view import JobView, view_job, wait_for_job
from api.openapi import body_of
from api.respond import json_response
from api.strict_route import StrictRoute
from core.access.keys import Caller
from core.datasets.outlook import data_outlook, find_profile
from core.datasets.preparable import check_preparation
from core.errors import InvalidInput
from core.failpoints import hit
from core.jobs.cancel import cancel
from core.jobs.experience import estimate, queue_ahead
from core.jobs.pause import pause
from core.jobs.queries import job_json, list_jobs
from core.jobs.resume import resume
from core.jobs.submit import submit, what_is_meant
from core.jobs.waiting import waiting_for
from core.recipes import RECIPES, parse_spec
from core.recipes.dataset_preparation import DatasetPreparationSpec
from core.states import JobState
from core.wire.base import Page
from core.wire.jobs import Job, ValidationReport

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=60,
        description="seconds to wait: until the job is terminal, or with If-None-Match until it differs from what you have",
    ),
]
Label = Annotated[str | None, Query(max_length=600, pattern=r"^[A-Za-z0-9._/-]{1,64}=", description="`key=value`")]
RecipeName = Annotated[str | None, Query(max_length=64, description=f"one of {', '.join(sorted(RECIPES))}")]


# First in the list, because it is asked most often and routes are tried in order.
@router.get(
    "/{job_id}",
    summary="Look at a job, or wait for it",
    response_model=Job,
    responses={**ERRORS(404), 304: {"description": "Not modified since the ETag of If-None-Match"}},
)
async def get_job(request: Request, caller: Reader, job_id: JobId, wait: Wait = 0) -> Response:
    """The job as it is. With `wait` the answer comes when the job has ended, at the latest after that many seconds.

    With the header `If-None-Match` and the ETag of an earlier answer: 304 while nothing has changed, and `wait` ends at any change.
    """
    state = state_of(request)
    if_none_match = request.headers.get("if-none-match")

    def look(tx: Connection) -> JobView:
        return view_job(tx, caller.project_id, job_id, if_none_match)

    view = await state.reads.ask(look)
    if wait > 0 and view.is_worth_waiting(if_none_match):
        view = await wait_for_job(state, job_id, look, if_none_match, seconds=wait)
    return view.response()


@router.post(
    "",
    summary="Submit a job",
    status_code=201,
    response_model=Job,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(description="a job spec; `GET /v1/recipes/{name}` has the schema of each recipe"),
)
def submit_job(request: Request, caller: Submitter, body: JsonBody, idempotency_key: IdempotencyKey = None) -> Response:
    """Stores the job and answers it. A 201 means that it is durable: it will run, whatever dies meanwhile."""
    state = state_of(request)
    spec = parse_spec(body)
    if isinstance(spec, DatasetPreparationSpec):
        _check_preparation(state, caller, spec)

    def make(tx: Connection) -> Answer:
        job_id = submit(
            tx, project_id=caller.project_id, spec=spec, now=state.clock.now(), max_queued=state.settings.max_queued_jobs_per_project
        )
        return Answer(201, job_json(tx, caller.project_id, job_id).body.decode())

    with state.db.begin() as tx:
        answer = once(state, tx, caller, path="/v1/jobs", key=idempotency_key, body=body, make=lambda: make(tx))
        hit("submit.before_commit")
    hit("submit.after_commit")
    state.doorbell.ring()
    return answer.response()


@router.post(
    "/validate",
    summary="Check a spec without submitting it",
    response_model=ValidationReport,
    responses=ERRORS(413, 415),
    openapi_extra=body_of(description="a job spec"),
)
def validate_spec(request: Request, caller: Reader, body: JsonBody) -> Response:
    """Answers the effective spec, every default filled in, with an outlook on its time, memory and queue; or every error at once."""
    state = state_of(request)
    spec = parse_spec(body)
    with state.db.read() as tx:
        meant = what_is_meant(tx, caller.project_id, spec, lock=False)
        profile = find_profile(tx, caller.project_id, meant.spec)
    check_preparation(state.store, meant.spec, profile)
    data = data_outlook(state.store, meant.spec, profile)
    with state.db.read() as tx:
        report = ValidationReport(
            spec=meant.spec,
            waiting_for=waiting_for(tx, meant.spec, meant.reads.values()),
            queue=queue_ahead(tx, meant.spec),
            estimate=estimate(tx, caller.project_id, meant.spec, num_training_rows=data.num_training_rows if data else None),
            data=data,
        )
    return json_response(report)


@router.get("", summary="List jobs, newest first", response_model=Page[Job], responses=ERRORS())
def list_all_jobs(
    request: Request,
    caller: Reader,
    limit: Limit = 20,
    after: After = None,
    state: JobState | None = None,
    recipe: RecipeName = None,
    label: Label = None,
) -> Response:
    with state_of(request).db.read() as tx:
        page = list_jobs(tx, caller.project_id, after=after, limit=limit, state=state, recipe=recipe, label=label)
    return json_response(page)


def _check_preparation(state: ApiState, caller: Caller, spec: DatasetPreparationSpec) -> None:
    """What else is wrong with the spec is left for its submission to refuse."""
    try:
        with state.db.read() as tx:
            meant = what_is_meant(tx, caller.project_id, spec, lock=False).spec
            profile = find_profile(tx, caller.project_id, meant)
    except InvalidInput:
        return
    check_preparation(state.store, meant, profile)


@router.post("/{job_id}/cancel", summary="Cancel a job", response_model=Job, responses=ERRORS(404, 409))
def cancel_job(request: Request, caller: Submitter, job_id: JobId) -> Response:
    """Valid in any state; a job that has ended stays as it is. `cancelled` means that its processes are gone."""
    return _steer(state_of(request), caller, job_id, cancel)


@router.post("/{job_id}/pause", summary="Pause a job", response_model=Job, responses=ERRORS(404, 409))
def pause_job(request: Request, caller: Submitter, job_id: JobId) -> Response:
    """A running job writes a checkpoint and gives its devices back; a queued one is not claimed."""
    return _steer(state_of(request), caller, job_id, pause)


@router.post("/{job_id}/resume", summary="Resume a paused job", response_model=Job, responses=ERRORS(404, 409))
def resume_job(request: Request, caller: Submitter, job_id: JobId) -> Response:
    """Queues a paused job again; it goes on from its newest verified checkpoint."""
    return _steer(state_of(request), caller, job_id, resume)


def _steer(state: ApiState, caller: Caller, job_id: str, verb: Callable[..., Job]) -> Response:
    with state.db.begin() as tx:
        job = verb(tx, caller.project_id, job_id, now=state.clock.now())
    state.live.notify(job_id)
    state.doorbell.ring()
    return json_response(job)
