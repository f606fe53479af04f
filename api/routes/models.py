"""Models: their versions, files and history. What moves aliases is beside this, in `model_aliases`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from api.deps import After, ApiState, JsonBody, Limit, Reader, Submitter, parse, state_of
from api.errors import ERRORS
from api.idempotent import Answer, IdempotencyKey, once
from api.openapi import body_of
from api.respond import json_response
from api.strict_route import StrictRoute
from api.transfer.download import DOWNLOAD, Described, Direct, IfNoneMatch, IfRange, Range, answer
from core.access.keys import Caller
from core.artifacts.uploads import require_uploads
from core.manifest import ManifestFile
from core.models.compare import compare
from core.models.delete import delete_version
from core.models.queries import get_file, get_model, get_version, list_files, list_model_events, list_models, list_versions
from core.models.register import Registered, register_files, register_job
from core.models.upload import check_contents, check_names
from core.wire.base import Page
from core.wire.models import (
    AddModelVersionRequest,
    ModelComparison,
    ModelEvent,
    ModelFile,
    ModelVersion,
    RegisteredModel,
    RegisterModelRequest,
)

router = APIRouter(prefix="/models", tags=["models"], route_class=StrictRoute)

_REFERENCE = r"^([1-9][0-9]{0,8}|[a-z][a-z0-9_-]{0,63})$"
ModelName = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="a model's name")]
Version = Annotated[str, Path(pattern=_REFERENCE, description="a number, an alias, or `latest`")]
WantedVersion = Annotated[str, Query(pattern=_REFERENCE, description="a number, an alias such as `production`, or `latest`")]
AliasFilter = Annotated[str | None, Query(max_length=64, pattern=r"^[a-z][a-z0-9_-]*$", description="events of this alias alone")]
AfterSeq = Annotated[int, Query(ge=0, le=2**31 - 1, description="the `seq` that you know")]

_MADE: dict[int | str, dict[str, Any]] = {
    200: {"model": ModelVersion, "description": "it was a version already"},
    201: {"model": ModelVersion, "description": "the new version"},
}


@router.post(
    "",
    summary="Register the model of a job",
    status_code=201,
    response_model=ModelVersion,
    responses={**ERRORS(409, 413, 415), **_MADE},
    openapi_extra=body_of(RegisterModelRequest),
)
def register_model(request: Request, caller: Submitter, body: JsonBody, idempotency_key: IdempotencyKey = None) -> Response:
    """The package of a succeeded job becomes the next version of the model, which is made if there is none of this name.

    The same job again answers the version that it is already, with 200. A job does this by itself with `register_as` in its spec.
    """
    state = state_of(request)
    wanted = parse(RegisterModelRequest, body)

    def make(tx: Connection) -> Answer:
        now = state.clock.now()
        registered = register_job(
            tx, caller.project_id, wanted.name, wanted.job, key_id=caller.key_id, now=now, description=wanted.description
        )
        return _answer(registered)

    with state.db.begin() as tx:
        found = once(state, tx, caller, path="/v1/models", key=idempotency_key, body=body, make=lambda: make(tx))
    return found.response()


@router.get("", summary="List models, newest first", response_model=Page[RegisteredModel], responses=ERRORS())
def list_all_models(request: Request, caller: Reader, limit: Limit = 50, after: After = None) -> Response:
    with state_of(request).db.read() as tx:
        page = list_models(tx, caller.project_id, after=after, limit=limit)
    return json_response(page)


@router.get("/{name}", summary="Look at a model", response_model=RegisteredModel, responses=ERRORS(404))
def look_at_model(request: Request, caller: Reader, name: ModelName) -> Response:
    """With its aliases, and the version that each points to."""
    with state_of(request).db.read() as tx:
        model = get_model(tx, caller.project_id, name)
    return json_response(model)


@router.get("/{name}/events", summary="Read a model's history", response_model=Page[ModelEvent], responses=ERRORS(404))
def read_history(
    request: Request, caller: Reader, name: ModelName, after: AfterSeq = 0, limit: Limit = 100, alias: AliasFilter = None
) -> Response:
    """What became of its versions and aliases, oldest first: what `production` was at any time is read from here."""
    with state_of(request).db.read() as tx:
        found = list_model_events(tx, caller.project_id, name, after=after, limit=limit + 1, alias=alias)
    return json_response(Page(data=found[:limit], has_more=len(found) > limit))


@router.post(
    "/{name}/versions",
    summary="Add a version",
    status_code=201,
    response_model=ModelVersion,
    responses={**ERRORS(404, 409, 413, 415), **_MADE},
    openapi_extra=body_of(AddModelVersionRequest),
)
def add_version(request: Request, caller: Submitter, name: ModelName, body: JsonBody, idempotency_key: IdempotencyKey = None) -> Response:
    """The package of a succeeded job, or files that this project has uploaded. A model that is not there yet is made.

    Files must hold weights as `.safetensors`, whose headers are checked; names of pickles are refused. The same job, or the same
    files, again answer the version that they are already, with 200.
    """
    state = state_of(request)
    wanted = parse(AddModelVersionRequest, body)
    if wanted.files is not None:
        _check_files(state, caller, wanted.files)

    def make(tx: Connection) -> Answer:
        return _answer(_add(tx, caller, name, wanted, state.clock.now()))

    with state.db.begin() as tx:
        path = f"/v1/models/{name}/versions"
        found = once(state, tx, caller, path=path, key=idempotency_key, body=body, make=lambda: make(tx))
    return found.response()


@router.get("/{name}/versions", summary="List versions, newest first", response_model=Page[ModelVersion], responses=ERRORS(404))
def list_all_versions(request: Request, caller: Reader, name: ModelName, limit: Limit = 50, after: After = None) -> Response:
    with state_of(request).db.read() as tx:
        page = list_versions(tx, caller.project_id, name, after=after, limit=limit)
    return json_response(page)


@router.get("/{name}/versions/{version}", summary="Look at a version", response_model=ModelVersion, responses=ERRORS(404))
def look_at_version(request: Request, caller: Reader, name: ModelName, version: Version) -> Response:
    with state_of(request).db.read() as tx:
        found = get_version(tx, caller.project_id, name, version)
    return json_response(found)


@router.delete("/{name}/versions/{version}", summary="Delete a version", status_code=204, responses=ERRORS(404, 409))
def delete_one_version(request: Request, caller: Submitter, name: ModelName, version: Version) -> Response:
    """409 while an alias points to it, or a job or a promotion that has not ended needs it. Its number is not given again."""
    state = state_of(request)
    with state.db.begin() as tx:
        delete_version(tx, caller.project_id, name, version, key_id=caller.key_id, now=state.clock.now())
    return Response(status_code=204)


@router.get("/{name}/versions/{version}/files", summary="List a version's files", response_model=Page[ModelFile], responses=ERRORS(404))
def list_version_files(request: Request, caller: Reader, name: ModelName, version: Version) -> Response:
    """All of them in path order, with size and SHA-256."""
    with state_of(request).db.read() as tx:
        files = list_files(tx, caller.project_id, name, version)
    return json_response(Page(data=files, has_more=False))


@router.head(
    "/{name}/versions/{version}/files/{path:path}",
    summary="Describe a file",
    response_class=Response,
    responses=DOWNLOAD,
)
@router.get(
    "/{name}/versions/{version}/files/{path:path}",
    summary="Download a file",
    response_class=Response,
    responses=DOWNLOAD,
)
def download_file(
    request: Request,
    caller: Reader,
    name: ModelName,
    version: Version,
    path: Annotated[str, Path(description="as the list has it")],
    range: Range = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
    direct: Direct = True,
) -> Response:
    """The bytes, always as an attachment. One byte range at most; several are answered with the whole."""
    state = state_of(request)
    with state.db.read() as tx:
        item = get_file(tx, caller.project_id, name, version, path)
    return answer(
        request, state.store, Described(item.sha256, item.size, item.media_type, item.path.rpartition("/")[2]), may_redirect=direct
    )


@router.get("/{name}/compare", summary="Compare two versions", response_model=ModelComparison, responses=ERRORS(404))
def compare_versions(request: Request, caller: Reader, name: ModelName, a: WantedVersion, b: WantedVersion) -> Response:
    """Their metrics side by side, whether they saw the same data, and every place where their specs differ."""
    state = state_of(request)
    with state.db.read() as tx:
        comparison = compare(tx, state.store, caller.project_id, name, a=a, b=b)
    return json_response(comparison)


def _check_files(state: ApiState, caller: Caller, files: tuple[ManifestFile, ...]) -> None:
    """Before the transaction that makes the version: reading headers must not keep other writers waiting."""
    check_names(files)
    with state.db.read() as tx:
        require_uploads(tx, caller.project_id, files)
    check_contents(state.store, files)


def _add(tx: Connection, caller: Caller, name: str, wanted: AddModelVersionRequest, now: datetime) -> Registered:
    if wanted.job is not None:
        return register_job(tx, caller.project_id, name, wanted.job, key_id=caller.key_id, now=now)
    assert wanted.files is not None
    require_uploads(tx, caller.project_id, wanted.files)  # again: they may have been removed since
    return register_files(tx, caller.project_id, name, wanted.files, key_id=caller.key_id, now=now)


def _answer(registered: Registered) -> Answer:
    return Answer(201 if registered.is_new else 200, registered.version.model_dump_json())
