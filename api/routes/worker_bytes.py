"""What a supervisor ships while its ranks run: metrics, output, checkpoints, artifacts, remarks. Every write is fenced."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.deps import ApiState, AttemptId, JsonBody, LeaseToken, ManifestBody, Offset, RawBody, Sha256, Size, parse, state_of
from api.errors import ERRORS
from api.openapi import body_of, bytes_body
from api.respond import json_response
from api.strict_route import StrictRoute
from api.transfer.direct import direct_put, take_over
from api.transfer.download import PART_OR_WHOLE, Described, answer
from api.transfer.upload import receive
from core.artifacts.artifacts import commit_artifacts
from core.artifacts.blobs import blob_size, note_blob, readable_size
from core.artifacts.checkpoints import commit_checkpoint
from core.artifacts.upload import UploadKey
from core.errors import InvalidInput, Problem, TooLarge
from core.failpoints import hit
from core.jobs.journal import record
from core.jobs.leases import fence
from core.logs import mask
from core.metrics.append import append
from core.output.append import MAX_APPEND, append_log
from core.wire.base import Page, UploadReply, page_of
from core.wire.jobs import Artifact, Checkpoint
from core.wire.worker import ArtifactsRequest, CheckpointRequest, EventRequest, LogReply, MetricsRequest, UploadStatus

router = APIRouter(prefix="/worker/attempts/{attempt_id}", tags=["worker"], route_class=StrictRoute)

Rank = Annotated[int, Path(ge=0, le=65_535)]
StreamName = Literal["stdout", "stderr"]


@router.post(
    "/metrics",
    status_code=204,
    summary="Add a batch of metric points",
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(MetricsRequest),
)
def add_metrics(request: Request, attempt_id: AttemptId, token: LeaseToken, body: JsonBody) -> Response:
    """A batch whose `seq` was accepted before changes nothing, so it can be sent again after a lost answer."""
    state = state_of(request)
    batch = parse(MetricsRequest, body)
    now = state.clock.now()
    with state.db.begin() as tx:
        lease = fence(tx, attempt_id, token)
        append(tx, lease, batch, now)
    state.live.notify(f"{lease.job_id}/metrics", *([lease.job_id] if batch.progress is not None else []))
    return Response(status_code=204)


@router.put(
    "/logs/{rank}/{stream}",
    summary="Add output of a rank",
    response_model=LogReply,
    responses=ERRORS(409, 413),
    openapi_extra=bytes_body("at most 256 KiB"),
)
def add_output(
    request: Request, attempt_id: AttemptId, rank: Rank, stream: StreamName, offset: Offset, token: LeaseToken, body: RawBody
) -> Response:
    """The body belongs at `offset`. Elsewhere than at the end of what is stored: 409 with `expected_offset`; stored already: no-op."""
    if len(body) > MAX_APPEND:
        raise TooLarge(f"at most {MAX_APPEND} bytes of output at a time")
    state = state_of(request)
    now = state.clock.now()
    with state.db.begin() as tx:
        lease = fence(tx, attempt_id, token)
        limit = state.settings.max_log_bytes_per_attempt
        reply = append_log(tx, lease, rank, stream, offset=offset, data=body, limit=limit, now=now)
    state.live.notify(f"{lease.job_id}/logs")
    return json_response(reply)


@router.put(
    "/blobs/{sha256}",
    summary="Upload an object, or go on with it",
    response_model=UploadReply,
    responses=ERRORS(409, 507),
    openapi_extra=bytes_body("the object from `offset` on"),
)
async def put_blob(request: Request, attempt_id: AttemptId, sha256: Sha256, offset: Offset, size: Size, token: LeaseToken) -> Response:
    """An object that the store has is answered at once with `is_complete`; else the body goes behind the bytes that are durable.

    A wrong `offset` is answered 409 with `expected_offset`, a whole object with another SHA-256 422, and its bytes are dropped.
    """
    state = state_of(request)
    if await run_in_threadpool(_has_blob, state, attempt_id, token, sha256, size):
        return json_response(UploadReply(offset=size, is_complete=True))
    stored = await receive(request, state.store.upload(UploadKey(attempt_id, sha256), size), offset)
    if stored == size:
        await run_in_threadpool(_note_blob, state, attempt_id, token, sha256, size)
    return json_response(UploadReply(offset=stored, is_complete=stored == size))


def _has_blob(state: ApiState, attempt_id: str, token: str, sha256: str, size: int) -> bool:
    """Whether the store holds the object; then its row is made young again, for it is about to be used."""
    with state.db.begin() as tx:
        lease = fence(tx, attempt_id, token)
        known = blob_size(tx, sha256)
        if known is None:
            return False
        if known != size:
            raise InvalidInput(f"the object with this SHA-256 has {known} bytes", param="size")
        note_blob(tx, sha256, size, state.clock.now())
        if state.blob_keys is not None:
            state.blob_keys.share(tx, lease.project_id, sha256)
    return True


def _note_blob(state: ApiState, attempt_id: str, token: str, sha256: str, size: int) -> None:
    with state.db.begin() as tx:
        fence(tx, attempt_id, token)
        note_blob(tx, sha256, size, state.clock.now())


@router.get("/blobs/{sha256}/upload", summary="How much of an object is uploaded", response_model=UploadStatus, responses=ERRORS(409))
def get_upload(
    request: Request,
    attempt_id: AttemptId,
    sha256: Sha256,
    token: LeaseToken,
    size: Annotated[int | None, Query(ge=0, le=2**53, description="asks whether an object of so many bytes may be put directly")] = None,
) -> Response:
    """`offset` counts bytes that are durable: go on from there. With `size`, `direct` says where all may be put at once."""
    state = state_of(request)
    with state.db.begin() as tx:
        fence(tx, attempt_id, token)
        known = blob_size(tx, sha256)
    if known is not None:
        return json_response(UploadReply(offset=known, is_complete=True))
    key = UploadKey(attempt_id, sha256)
    offset = state.store.durable_offset(key)
    if size is None or offset:
        return json_response(UploadReply(offset=offset, is_complete=False))
    return json_response(UploadStatus(offset=0, is_complete=False, direct=direct_put(state.store, key, size)))


@router.post(
    "/blobs/{sha256}/adopt", summary="Take over an object that was put directly", response_model=UploadReply, responses=ERRORS(409)
)
async def adopt_blob(request: Request, attempt_id: AttemptId, sha256: Sha256, size: Size, token: LeaseToken) -> Response:
    """Reads it back, and counts it as uploaded when size and SHA-256 are right; else 422, and its bytes are dropped.

    409 `blob_missing` when nothing was put, or somebody has taken it over meanwhile: ask how much is uploaded.
    """
    state = state_of(request)
    if not await run_in_threadpool(_has_blob, state, attempt_id, token, sha256, size):
        await take_over(state.store, UploadKey(attempt_id, sha256), size)
        await run_in_threadpool(_note_blob, state, attempt_id, token, sha256, size)
    return json_response(UploadReply(offset=size, is_complete=True))


@router.get(
    "/blobs/{sha256}",
    summary="Download an object to start from",
    response_class=Response,
    responses={**ERRORS(404, 409, 416), **PART_OR_WHOLE},
)
def get_blob(
    request: Request,
    attempt_id: AttemptId,
    sha256: Sha256,
    token: LeaseToken,
    range: Annotated[str | None, Header()] = None,
    direct: Annotated[bool, Query(description="whether a store that can may be named in a 307")] = True,
) -> Response:
    """Objects of the job's checkpoints, of the package that it starts from and of its datasets; one byte range at most."""
    state = state_of(request)
    with state.db.begin() as tx:
        size = readable_size(tx, fence(tx, attempt_id, token), sha256)
    return answer(request, state.store, Described(sha256, size, "application/octet-stream", sha256), may_redirect=direct)


@router.post(
    "/checkpoints",
    summary="Commit a checkpoint",
    response_model=Checkpoint,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(CheckpointRequest),
)
def add_checkpoint(request: Request, attempt_id: AttemptId, token: LeaseToken, body: JsonBody) -> Response:
    """Visible as a whole, or not at all: 409 names the objects that are `missing` from the store. The same one again is a no-op."""
    state = state_of(request)
    wanted = parse(CheckpointRequest, body)
    with state.db.begin() as tx:
        lease = fence(tx, attempt_id, token)
        checkpoint = commit_checkpoint(tx, lease, wanted, state.clock.now())
        hit("checkpoint.before_commit")
    hit("checkpoint.after_commit")
    state.live.notify(lease.job_id)
    return json_response(checkpoint)


@router.post(
    "/artifacts",
    summary="Commit artifacts",
    response_model=Page[Artifact],
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(ArtifactsRequest),
)
def add_artifacts(request: Request, attempt_id: AttemptId, token: LeaseToken, body: ManifestBody) -> Response:
    """All files of the manifest become visible at once; 409 names the objects that are `missing` from the store."""
    state = state_of(request)
    wanted = parse(ArtifactsRequest, body)
    with state.db.begin() as tx:
        lease = fence(tx, attempt_id, token)
        stored = commit_artifacts(tx, lease, wanted, state.clock.now())
    state.live.notify(lease.job_id)
    return json_response(page_of(stored, len(stored)))


@router.post(
    "/events", status_code=204, summary="Add a remark to the journal", responses=ERRORS(409, 413, 415), openapi_extra=body_of(EventRequest)
)
def add_event(request: Request, attempt_id: AttemptId, token: LeaseToken, body: JsonBody) -> Response:
    state = state_of(request)
    remark = parse(EventRequest, body)
    if remark.type.startswith(("job.", "attempt.")):
        raise InvalidInput(problems=[Problem("/type", "what becomes of a job or an attempt is written by the service alone")])
    with state.db.begin() as tx:
        lease = fence(tx, attempt_id, token)
        record(tx, lease.job_id, remark.type, mask(remark.message), at=state.clock.now(), attempt=lease.number)
    state.live.notify(lease.job_id)
    return Response(status_code=204)
