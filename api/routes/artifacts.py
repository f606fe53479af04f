"""Artifacts: the files of a trained model and its reports, one by one or as an archive."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from api.deps import After, JobId, Limit, Reader, state_of
from api.errors import ERRORS
from api.respond import etag_matches, json_response, not_modified
from api.strict_route import StrictRoute
from api.transfer.archive import Archive, TarArchive
from api.transfer.download import DOWNLOAD, NOT_MODIFIED, Described, Direct, IfNoneMatch, IfRange, Range, StreamedBytes, answer
from api.transfer.zip_archive import ZipArchive
from core.artifacts.artifacts import all_artifacts, get_artifact, list_artifacts
from core.errors import NotFound
from core.wire.base import Page
from core.wire.jobs import Artifact

router = APIRouter(prefix="/jobs/{job_id}", tags=["artifacts"], route_class=StrictRoute)

OfAttempt = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="by default the attempt that handed over files last")]
_FORMATS: dict[str, type[Archive]] = {"tar": TarArchive, "zip": ZipArchive}
_ARCHIVES = {kind.media_type: {"schema": {"type": "string", "format": "binary"}} for kind in _FORMATS.values()}


@router.get("/artifacts", summary="List a job's artifacts", response_model=Page[Artifact], responses=ERRORS(404, 410))
def list_of_job(
    request: Request, caller: Reader, job_id: JobId, after: After = None, limit: Limit = 50, attempt: OfAttempt = None
) -> Response:
    """The files of one attempt in path order, with size and SHA-256."""
    with state_of(request).db.read() as tx:
        page = list_artifacts(tx, caller.project_id, job_id, after=after, limit=limit, attempt=attempt)
    return json_response(page)


@router.head("/artifacts/{path:path}", summary="Describe an artifact", response_class=Response, responses=DOWNLOAD)
@router.get("/artifacts/{path:path}", summary="Download an artifact", response_class=Response, responses=DOWNLOAD)
def download(
    request: Request,
    caller: Reader,
    job_id: JobId,
    path: Annotated[str, Path(description="as the list has it")],
    attempt: OfAttempt = None,
    range: Range = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
    direct: Direct = True,
) -> Response:
    """The bytes, always as an attachment. One byte range at most; several are answered with the whole."""
    state = state_of(request)
    with state.db.read() as tx:
        item = get_artifact(tx, caller.project_id, job_id, path, attempt=attempt)
    filename = item.path.rpartition("/")[2]
    return answer(request, state.store, Described(item.sha256, item.size, item.media_type, filename), may_redirect=direct)


@router.get(
    "/archive",
    summary="Download all artifacts as one file",
    response_class=Response,
    responses={
        **ERRORS(404, 410),
        **NOT_MODIFIED,
        200: {"content": _ARCHIVES, "description": "the archive; its length is told in advance"},
    },
)
def download_archive(
    request: Request,
    caller: Reader,
    job_id: JobId,
    attempt: OfAttempt = None,
    if_none_match: IfNoneMatch = None,
    format: Annotated[Literal["tar", "zip"], Query()] = "tar",
) -> Response:
    """`<job id>/<path>` of every artifact, not compressed, made while it is sent; the same artifacts give the same bytes."""
    state = state_of(request)
    with state.db.read() as tx:
        items = all_artifacts(tx, caller.project_id, job_id, attempt=attempt)
    if not items:
        raise NotFound("this job has no artifacts yet")
    archive = _FORMATS[format](state.store, job_id, items)
    if etag_matches(if_none_match, archive.etag):
        return not_modified(archive.etag)
    headers = {
        "ETag": archive.etag,
        "Accept-Ranges": "none",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{job_id}.{archive.suffix}"',
    }
    return StreamedBytes(archive, archive.size, headers=headers, media_type=archive.media_type)
