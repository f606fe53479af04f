"""Files of datasets: sent one by one into the open version, listed, downloaded; and what the validation found in them."""

import base64
import binascii
import re
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.deps import ApiState, Reader, Submitter, state_of
from api.errors import ERRORS
from api.openapi import bytes_body
from api.respond import json_response
from api.routes.datasets import DatasetName, Version, wanted
from api.strict_route import StrictRoute
from api.transfer.download import DOWNLOAD, Described, Direct, IfNoneMatch, IfRange, Range, answer
from api.transfer.upload import receive_whole
from core.access.keys import Caller
from core.artifacts.artifacts import MEDIA_TYPES, get_artifact
from core.artifacts.uploads import note_upload
from core.datasets.add_file import add_file
from core.datasets.finding import find_dataset
from core.datasets.queries import get_file, get_version, list_files
from core.errors import DigestMismatch, InvalidInput, NotFound, Problem
from core.manifest import ManifestFile, check_relative_path
from core.wire.base import Page
from core.wire.datasets import DatasetFile, DatasetVersion

router = APIRouter(prefix="/datasets/{name}", tags=["datasets"], route_class=StrictRoute)

FileName = Annotated[str, Path(max_length=1024, description="the file's path in the dataset")]
AfterPath = Annotated[str | None, Query(max_length=1024, pattern=r"^[^\x00]*$", description="the last path of the page before")]
FileLimit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
ReprDigest = Annotated[str | None, Header(max_length=512, description="`sha-256=:<base64>:` (RFC 9530): other bytes are refused")]

_SHA256 = re.compile(r"(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/=]{44}):")
# The page is made by us, of what users wrote: it may show its own styles and pictures, and run or load nothing.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"


@router.put(
    "/files/{path:path}",
    summary="Send one file into the open version",
    response_model=DatasetFile,
    responses=ERRORS(404, 507),
    openapi_extra=bytes_body("the whole file"),
)
async def put_file(request: Request, caller: Submitter, name: DatasetName, path: FileName, repr_digest: ReprDigest = None) -> Response:
    """The first file opens a version, which takes files until it is committed. A file of the same path is replaced.

    For what is too large to be sent again after a broken connection there are `/v1/uploads` and `POST .../versions`.
    """
    state = state_of(request)
    _check_name(path)
    expected = _expected_sha256(repr_digest)
    await run_in_threadpool(_require_dataset, state, caller, name)
    sha256, size = await receive_whole(request, state.store, caller.project_id)
    if expected not in (None, sha256):
        raise DigestMismatch(f"the {size} bytes received have SHA-256 {sha256}")
    return json_response(await run_in_threadpool(_add, state, caller, name, ManifestFile(path=path, size=size, sha256=sha256)))


@router.get("/versions/{version}/files", summary="List a version's files", response_model=Page[DatasetFile], responses=ERRORS(404, 410))
def list_of_version(
    request: Request, caller: Reader, name: DatasetName, version: Version, limit: FileLimit = 100, after: AfterPath = None
) -> Response:
    """In path order; `last_id` is a path."""
    with state_of(request).db.read() as tx:
        page = list_files(tx, caller.project_id, name, wanted(version), after=after, limit=limit)
    return json_response(page)


@router.head("/versions/{version}/files/{path:path}", summary="Describe a file", response_class=Response, responses=DOWNLOAD)
@router.get("/versions/{version}/files/{path:path}", summary="Download a file", response_class=Response, responses=DOWNLOAD)
def download_file(
    request: Request,
    caller: Reader,
    name: DatasetName,
    version: Version,
    path: FileName,
    range: Range = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
    direct: Direct = True,
) -> Response:
    """The bytes, always as an attachment. One byte range at most; several are answered with the whole."""
    state = state_of(request)
    with state.db.read() as tx:
        item = get_file(tx, caller.project_id, name, wanted(version), path)
    media_type = MEDIA_TYPES.get(PurePosixPath(path).suffix.lower(), "application/octet-stream")
    return answer(request, state.store, Described(item.sha256, item.size, media_type, path.rpartition("/")[2]), may_redirect=direct)


@router.get("/versions/{version}/profile", summary="What the validation found, as JSON", response_class=Response, responses=DOWNLOAD)
def get_profile(
    request: Request, caller: Reader, name: DatasetName, version: Version, range: Range = None, if_none_match: IfNoneMatch = None
) -> Response:
    """404 until the validation has ended."""
    return _found(request, caller, name, version, path="profile.json", media_type="application/json")


@router.get("/versions/{version}/report", summary="What the validation found, as a page", response_class=Response, responses=DOWNLOAD)
def get_report(
    request: Request, caller: Reader, name: DatasetName, version: Version, range: Range = None, if_none_match: IfNoneMatch = None
) -> Response:
    """A page that runs no script and loads nothing."""
    response = _found(request, caller, name, version, path="report.html", media_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response


def _found(request: Request, caller: Caller, name: str, version: str, *, path: str, media_type: str) -> Response:
    """A file that the job of the validation has left."""
    state = state_of(request)
    with state.db.read() as tx:
        found: DatasetVersion = get_version(tx, caller.project_id, name, wanted(version))
        if found.job_id is None:
            raise NotFound(f"{name}@{found.number} has not been validated yet")
        item = get_artifact(tx, caller.project_id, found.job_id, path)
    response = answer(request, state.store, Described(item.sha256, item.size, media_type, path), may_redirect=False)
    response.headers["Content-Disposition"] = "inline"
    return response


def _check_name(path: str) -> None:
    try:
        check_relative_path(path)
    except ValueError as error:
        raise InvalidInput(problems=[Problem("/path/path", str(error))]) from None


def _expected_sha256(header: str | None) -> str | None:
    """The SHA-256 that a Repr-Digest names, in hex; other algorithms are ignored, as RFC 9530 has it."""
    found = _SHA256.search(header or "")
    if found is None:
        return None
    try:
        return base64.b64decode(found.group(1), validate=True).hex()
    except binascii.Error:
        raise InvalidInput("Repr-Digest holds no base64", param="Repr-Digest") from None


def _require_dataset(state: ApiState, caller: Caller, name: str) -> None:
    """Before the body is read: bytes for nowhere are not taken."""
    with state.db.read() as tx:
        find_dataset(tx, caller.project_id, name)


def _add(state: ApiState, caller: Caller, name: str, file: ManifestFile) -> DatasetFile:
    now = state.clock.now()
    with state.db.begin() as tx:
        note_upload(tx, caller.project_id, file.sha256, file.size, now)
        return add_file(tx, caller.project_id, name, file, now)
