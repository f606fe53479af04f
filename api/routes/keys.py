"""API keys: made, listed and revoked by admins of their project."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from api.deps import Admin, After, ApiState, JsonBody, Limit, parse, require_operator, state_of
from api.errors import ERRORS
from api.idempotent import Answer, IdempotencyKey, once
from api.openapi import body_of
from api.respond import json_bytes, json_response
from api.strict_route import StrictRoute
from core.access.keys import Caller, create_key, list_keys, revoke_key
from core.errors import Conflict, Forbidden
from core.wire.base import Page
from core.wire.keys import ApiKey, CreatedKey, CreateKeyRequest, Scope

router = APIRouter(prefix="/keys", tags=["keys"], route_class=StrictRoute)
KeyId = Annotated[str, Path(max_length=64, description="a key's id, `key_...`")]


@router.post(
    "",
    summary="Make an API key",
    status_code=201,
    response_model=CreatedKey,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(CreateKeyRequest),
)
def make_key(request: Request, caller: Admin, body: JsonBody, idempotency_key: IdempotencyKey = None) -> Response:
    """The answer carries the secret, once: the service keeps its hash alone, so a repeated request cannot show it again (409)."""
    state = state_of(request)
    wanted = parse(CreateKeyRequest, body)
    _check_allowed(caller, wanted)
    made: list[CreatedKey] = []

    def make(tx: Connection) -> Answer:
        made.append(_create(state, tx, caller, wanted))
        return Answer(201, made[0].model_dump_json(exclude={"key"}))

    with state.db.begin() as tx:
        answer = once(state, tx, caller, path="/v1/keys", key=idempotency_key, body=body, make=lambda: make(tx))
    if answer.is_replay:
        raise Conflict("this Idempotency-Key has already made a key; its secret was shown then and is not kept: revoke it and make another")
    return json_bytes(made[0].model_dump_json(), 201)


@router.get("", summary="List the project's API keys, newest first", response_model=Page[ApiKey], responses=ERRORS())
def list_all_keys(request: Request, caller: Admin, limit: Limit = 50, after: After = None) -> Response:
    with state_of(request).db.read() as tx:
        page = list_keys(tx, caller.project_id, after=after, limit=limit)
    return json_response(page)


@router.delete("/{key_id}", summary="Revoke an API key", response_model=ApiKey, responses=ERRORS(404))
def revoke_one_key(request: Request, caller: Admin, key_id: KeyId) -> Response:
    """Refused everywhere within five seconds, by this process at once. Revoking twice answers the same."""
    state = state_of(request)
    with state.db.begin() as tx:
        key = revoke_key(tx, caller.project_id, key_id, now=state.clock.now())
    state.keys.forget()
    return json_response(key)


def _check_allowed(caller: Caller, wanted: CreateKeyRequest) -> None:
    if wanted.project not in (None, caller.project_name):
        require_operator(caller)
    if Scope.WORKER in wanted.scopes:
        require_operator(caller)
        if wanted.project not in (None, caller.project_name):
            raise Forbidden("workers serve every project, so their keys belong to the operator's project")


def _create(state: ApiState, tx: Connection, caller: Caller, wanted: CreateKeyRequest) -> CreatedKey:
    now = state.clock.now()
    return create_key(
        tx,
        project=wanted.project or caller.project_name,
        name=wanted.name,
        scopes=wanted.scopes,
        now=now,
        expires_at=None if wanted.expires_in_seconds is None else now + timedelta(seconds=wanted.expires_in_seconds),
    )
