"""Uploads: the bytes that a project brings, under their SHA-256. Datasets, models and scripts then name them."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.deps import ApiState, Offset, Sha256, Size, Submitter, state_of
from api.errors import ERRORS
from api.openapi import bytes_body
from api.respond import json_response
from api.strict_route import StrictRoute
from api.transfer.upload import receive
from core.artifacts.upload import UploadKey
from core.artifacts.uploads import note_upload, uploaded_size
from core.errors import InvalidInput
from core.wire.base import UploadReply

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=StrictRoute)


@router.put(
    "/{sha256}",
    summary="Upload an object, or go on with it",
    response_model=UploadReply,
    responses=ERRORS(409, 507),
    openapi_extra=bytes_body("the object from `offset` on"),
)
async def put_upload(request: Request, caller: Submitter, sha256: Sha256, size: Size, offset: Offset = 0) -> Response:
    """What your project has sent before is answered at once with `is_complete`; else the body goes behind the bytes that are durable.

    A wrong `offset` is answered 409 with `expected_offset`, a whole object with another SHA-256 422, and its bytes are dropped.
    An object that nothing refers to after a day is removed.
    """
    state = state_of(request)
    if await run_in_threadpool(_is_known, state, caller.project_id, sha256, size):
        return json_response(UploadReply(offset=size, is_complete=True))
    stored = await receive(request, state.store.upload(UploadKey(caller.project_id, sha256), size), offset)
    if stored == size:
        await run_in_threadpool(_note, state, caller.project_id, sha256, size)
    return json_response(UploadReply(offset=stored, is_complete=stored == size))


def _is_known(state: ApiState, project_id: str, sha256: str, size: int) -> bool:
    """Whether the project has sent the object; then it is made young again, for it is about to be used."""
    with state.db.begin() as tx:
        known = uploaded_size(tx, project_id, sha256)
        if known is None:
            return False
        if known != size:
            raise InvalidInput(f"the object with this SHA-256 has {known} bytes", param="size")
        note_upload(tx, project_id, sha256, size, state.clock.now())
        if state.blob_keys is not None:
            state.blob_keys.share(tx, project_id, sha256)
    return True


def _note(state: ApiState, project_id: str, sha256: str, size: int) -> None:
    with state.db.begin() as tx:
        note_upload(tx, project_id, sha256, size, state.clock.now())


@router.get("/{sha256}", summary="How much of an object is uploaded", response_model=UploadReply, responses=ERRORS())
def get_upload(request: Request, caller: Submitter, sha256: Sha256) -> Response:
    """`offset` counts bytes that are durable: go on from there. What another project has sent counts for nothing here."""
    state = state_of(request)
    with state.db.read() as tx:
        size = uploaded_size(tx, caller.project_id, sha256)
    if size is not None:
        return json_response(UploadReply(offset=size, is_complete=True))
    return json_response(UploadReply(offset=state.store.durable_offset(UploadKey(caller.project_id, sha256)), is_complete=False))
