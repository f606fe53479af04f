"""Datasets: make one, add versions, look, prepare, delete. Their files are a resource of their own."""

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from api.deps import After, ApiState, JsonBody, Limit, ManifestBody, Reader, Submitter, parse, state_of
from api.errors import ERRORS
from api.idempotent import Answer, IdempotencyKey, once
from api.openapi import body_of
from api.respond import json_response
from api.strict_route import StrictRoute
from core.access.keys import Caller
from core.artifacts.uploads import require_uploads
from core.datasets.add_version import add_version
from core.datasets.commit import commit_version
from core.datasets.create import create_dataset
from core.datasets.finding import LATEST, WantedVersion, find_dataset, find_version
from core.datasets.importing import import_path
from core.datasets.outlook import find_profile
from core.datasets.preparable import check_preparation
from core.datasets.prepare import pointing_into_request, preparation_spec, prepare_version
from core.datasets.queries import get_dataset, get_version, list_datasets, list_versions
from core.datasets.remove import remove_dataset, remove_version
from core.errors import InvalidInput, NotFound
from core.manifest import ManifestFile
from core.wire.base import Page
from core.wire.datasets import AddVersionRequest, CreateDatasetRequest, Dataset, DatasetVersion, PrepareRequest

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=StrictRoute)

DatasetName = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the dataset's name")]
Version = Annotated[str, Path(pattern=r"^(latest|[1-9][0-9]{0,8})$", description="a number, or `latest`: the newest that is ready")]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="the version's number")]


def wanted(version: str) -> WantedVersion:
    return int(version) if version.isdecimal() else LATEST


@router.post(
    "",
    summary="Make a dataset",
    status_code=201,
    response_model=Dataset,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(CreateDatasetRequest),
)
def create(request: Request, caller: Submitter, body: JsonBody, idempotency_key: IdempotencyKey = None) -> Response:
    """A name without versions. `task` is the recipe that will train on it, where its files do not tell."""
    state = state_of(request)
    asked = parse(CreateDatasetRequest, body)

    def make(tx: Connection) -> Answer:
        return Answer(201, create_dataset(tx, caller.project_id, asked, state.clock.now()).model_dump_json())

    return _once(state, caller, path="/v1/datasets", key=idempotency_key, body=body, make=make)


@router.get("", summary="List datasets, newest first", response_model=Page[Dataset], responses=ERRORS())
def list_all(request: Request, caller: Reader, limit: Limit = 20, after: After = None) -> Response:
    """Without their versions."""
    with state_of(request).db.read() as tx:
        page = list_datasets(tx, caller.project_id, after=after, limit=limit)
    return json_response(page)


@router.get("/{name}", summary="Look at a dataset", response_model=Dataset, responses=ERRORS(404))
def get_one(request: Request, caller: Reader, name: DatasetName) -> Response:
    """With its newest versions."""
    with state_of(request).db.snapshot() as tx:
        found = get_dataset(tx, caller.project_id, name)
    return json_response(found)


@router.delete("/{name}", summary="Delete a dataset", status_code=204, responses=ERRORS(404, 409))
def delete(request: Request, caller: Submitter, name: DatasetName) -> Response:
    """With all its versions; 409 names a job that needs one and has not ended. Bytes that nothing else holds go within a day or so."""
    with state_of(request).db.begin() as tx:
        remove_dataset(tx, caller.project_id, name)
    return Response(status_code=204)


@router.post(
    "/{name}/versions",
    summary="Add a version from uploaded files, or from the server's own disk",
    status_code=201,
    response_model=DatasetVersion,
    responses={
        **ERRORS(404, 409, 413, 415, 507),
        200: {"model": DatasetVersion, "description": "The newest version has these files already"},
    },
    openapi_extra=body_of(AddVersionRequest),
)
def add(request: Request, caller: Submitter, name: DatasetName, body: ManifestBody, idempotency_key: IdempotencyKey = None) -> Response:
    """All files at once, committed at once: each must have been sent to `/v1/uploads`, or lie where the server's operator allows."""
    state = state_of(request)
    asked = parse(AddVersionRequest, body)
    files = asked.files or _import(state, caller, name, asked)

    def make(tx: Connection) -> Answer:
        find_dataset(tx, caller.project_id, name)
        require_uploads(tx, caller.project_id, files)
        version, is_new = add_version(tx, caller.project_id, name, files, now=state.clock.now(), max_queued=_queue(state))
        return Answer(201 if is_new else 200, version.model_dump_json())

    return _once(state, caller, path=f"/v1/datasets/{name}/versions", key=idempotency_key, body=body, make=make)


@router.post(
    "/{name}/commit", summary="Commit the open version", status_code=201, response_model=DatasetVersion, responses=ERRORS(404, 409)
)
def commit(request: Request, caller: Submitter, name: DatasetName, idempotency_key: IdempotencyKey = None) -> Response:
    """Its files never change from here on; a job validates it."""
    state = state_of(request)

    def make(tx: Connection) -> Answer:
        version = commit_version(tx, caller.project_id, name, now=state.clock.now(), max_queued=_queue(state))
        return Answer(201, version.model_dump_json())

    return _once(state, caller, path=f"/v1/datasets/{name}/commit", key=idempotency_key, body=b"{}", make=make)


@router.post(
    "/{name}/prepare",
    summary="Make a version from another by declared steps",
    status_code=201,
    response_model=DatasetVersion,
    responses=ERRORS(404, 409, 410, 413, 415),
    openapi_extra=body_of(PrepareRequest),
)
def prepare(request: Request, caller: Submitter, name: DatasetName, body: JsonBody, idempotency_key: IdempotencyKey = None) -> Response:
    """A job does it: the version is `uploading` until that has ended, then it is validated. Same steps and seed, same bytes.

    Steps that mean nothing to what the version's validation has found are refused at once, each with its place.
    """
    state = state_of(request)
    asked = _checked(state, caller, name, parse(PrepareRequest, body))

    def make(tx: Connection) -> Answer:
        version = prepare_version(tx, caller.project_id, name, asked, now=state.clock.now(), max_queued=_queue(state))
        return Answer(201, version.model_dump_json())

    return _once(state, caller, path=f"/v1/datasets/{name}/prepare", key=idempotency_key, body=body, make=make)


@router.get("/{name}/versions", summary="List versions, newest first", response_model=Page[DatasetVersion], responses=ERRORS(404))
def list_of_dataset(request: Request, caller: Reader, name: DatasetName, limit: Limit = 20, after: After = None) -> Response:
    with state_of(request).db.read() as tx:
        page = list_versions(tx, caller.project_id, name, after=after, limit=limit)
    return json_response(page)


@router.get("/{name}/versions/{version}", summary="Look at a version", response_model=DatasetVersion, responses=ERRORS(404, 410))
def get_one_version(request: Request, caller: Reader, name: DatasetName, version: Version) -> Response:
    with state_of(request).db.read() as tx:
        found = get_version(tx, caller.project_id, name, wanted(version))
    return json_response(found)


@router.delete("/{name}/versions/{number}", summary="Delete a version", status_code=204, responses=ERRORS(404, 409, 410))
def delete_version(request: Request, caller: Submitter, name: DatasetName, number: Number) -> Response:
    """409 names a job that needs it and has not ended. Its number is not given again."""
    with state_of(request).db.begin() as tx:
        remove_version(tx, caller.project_id, name, number)
    return Response(status_code=204)


def _import(state: ApiState, caller: Caller, name: str, asked: AddVersionRequest) -> tuple[ManifestFile, ...]:
    assert asked.from_path is not None
    with state.db.read() as tx:
        find_dataset(tx, caller.project_id, name)
    roots, path = state.settings.dataset_roots, FilePath(asked.from_path)
    return import_path(state.db, state.store, project_id=caller.project_id, path=path, roots=roots, now=state.clock.now())


def _checked(state: ApiState, caller: Caller, name: str, asked: PrepareRequest) -> PrepareRequest:
    """With the number of the version that it means now. What the project has not is left for the making of the version to refuse."""
    try:
        with state.db.read() as tx:
            number = find_version(tx, caller.project_id, name, asked.version).number
            spec = preparation_spec(name, number, asked)
            profile = find_profile(tx, caller.project_id, spec)
    except (InvalidInput, NotFound):
        return asked
    with pointing_into_request():
        check_preparation(state.store, spec, profile)
    return asked.model_copy(update={"version": number})


def _queue(state: ApiState) -> int:
    return state.settings.max_queued_jobs_per_project


def _once(state: ApiState, caller: Caller, *, path: str, key: str | None, body: bytes, make: Callable[[Connection], Answer]) -> Response:
    with state.db.begin() as tx:
        answer = once(state, tx, caller, path=path, key=key, body=body, make=lambda: make(tx))
    state.doorbell.ring()
    return answer.response()
