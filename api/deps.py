"""What routes are handed: the parts of the running server, the caller, and the body as bytes.

A route reads, in this order: its caller (so that strangers learn nothing about parameters), then its input::

    @router.post("/things", responses=ERRORS(409), openapi_extra=body_of(ThingRequest))
    def make_thing(request: Request, caller: Submitter, body: JsonBody) -> Response:
        state = state_of(request)
        wanted = parse(ThingRequest, body)
        with state.db.begin() as tx:
            thing = make(tx, caller.project_id, wanted, state.clock.now())
        return json_response(thing, 201)
"""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.auth import KeyCache, KeyWith, LeaseBearer
from api.doorbell import Doorbell
from api.live import Live
from api.measures import Measures
from api.shared_reads import SharedReads
from core.access.keys import Caller
from core.access.vault import Vault
from core.artifacts.blob_keys import BlobKeys
from core.artifacts.store import ByteStore
from core.clock import Clock
from core.db.engine import Database
from core.errors import Forbidden, InvalidInput, TooLarge, Unavailable
from core.recipes import problems_of
from core.settings import ApiSettings
from core.wire.keys import Scope

OPERATOR_PROJECT = "default"
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ApiState:
    """The parts of one server; lies on ``app.state.trainyard``."""

    settings: ApiSettings
    db: Database
    clock: Clock
    keys: KeyCache
    reads: SharedReads
    live: Live
    doorbell: Doorbell
    store: ByteStore
    measures: Measures
    # Both None without a master key.
    vault: Vault | None = None
    blob_keys: BlobKeys | None = None


def state_of(request: Request) -> ApiState:
    state: ApiState = request.app.state.trainyard
    return state


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. TooLarge beyond ``limit`` bytes, Unavailable when the connection ends before it does."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLarge(f"the body has {declared} bytes; this server accepts {limit}")
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise TooLarge(f"the body has more than the {limit} bytes that this server accepts")
            parts.append(part)
    except ClientDisconnect as error:
        raise Unavailable("the connection ended before the body did") from error
    return b"".join(parts)


async def read_json(request: Request, limit: int) -> bytes:
    """The same for a body that has to be JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(415, "send JSON, with Content-Type: application/json")
    return await read_body(request, limit)


async def _limited_body(request: Request) -> bytes:
    return await read_body(request, state_of(request).settings.max_body_bytes)


async def _json_body(request: Request) -> bytes:
    return await read_json(request, state_of(request).settings.max_body_bytes)


async def _manifest_body(request: Request) -> bytes:
    return await read_json(request, state_of(request).settings.max_manifest_bytes)


def parse(model: type[Model], body: bytes) -> Model:
    """The body as this model; InvalidInput with every problem at once. Strict models must be read from JSON text."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInput(problems=problems_of(error)) from None


def require_operator(caller: Caller) -> None:
    """Some things concern every project: nodes, and keys of others. They are for the operator's project alone."""
    if caller.project_name != OPERATOR_PROJECT:
        raise Forbidden(f"this needs an admin key of the project '{OPERATOR_PROJECT}'")


Reader = Annotated[Caller, Depends(KeyWith(Scope.READ))]
Submitter = Annotated[Caller, Depends(KeyWith(Scope.SUBMIT))]
Admin = Annotated[Caller, Depends(KeyWith(Scope.ADMIN))]
WorkerKey = Annotated[Caller, Depends(KeyWith(Scope.WORKER))]
LeaseToken = Annotated[str, Depends(LeaseBearer())]

JsonBody = Annotated[bytes, Depends(_json_body)]
ManifestBody = Annotated[bytes, Depends(_manifest_body)]  # of requests that list files
RawBody = Annotated[bytes, Depends(_limited_body)]

JobId = Annotated[str, Path(max_length=64, description="a job's id, `job_...`", examples=["job_01jd3v4n8m0000000000000000"])]
AttemptId = Annotated[str, Path(max_length=64, description="an attempt's id, `att_...`")]
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the whole object, in lower-case hex")]
Offset = Annotated[int, Query(ge=0, le=2**53, description="where the body begins in the whole")]
Size = Annotated[int, Query(ge=0, le=2**53, description="bytes of the whole object")]
Limit = Annotated[int, Query(ge=1, le=200, description="how many at most")]
After = Annotated[str | None, Query(max_length=64, description="the last id of the page before")]
