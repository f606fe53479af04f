"""Secrets of a project, for its scripts: set, listed by name and removed. No route answers a value."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.deps import ApiState, JsonBody, Reader, Submitter, parse, state_of
from api.errors import ERRORS
from api.openapi import body_of
from api.respond import json_response
from api.strict_route import StrictRoute
from core.access.project_secrets import delete_secret, list_secrets, put_secret
from core.access.vault import Vault
from core.errors import NoMasterKey
from core.wire.base import Page
from core.wire.secrets import PutSecretRequest, Secret

router = APIRouter(prefix="/secrets", tags=["secrets"], route_class=StrictRoute)
SecretNamePath = Annotated[str, Path(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$", description="as a script's `secrets` names it")]


@router.put(
    "/{name}",
    summary="Set a secret",
    response_model=Secret,
    responses=ERRORS(413, 415),
    openapi_extra=body_of(PutSecretRequest),
)
def set_secret(request: Request, caller: Submitter, name: SecretNamePath, body: JsonBody) -> Response:
    """Stored sealed under the operator's master key; 503 `no_master_key` where the server has none. Replaces the value that was there."""
    state = state_of(request)
    wanted = parse(PutSecretRequest, body)
    vault = _vault(state)
    with state.db.begin() as tx:
        secret = put_secret(tx, vault, caller.project_id, name, wanted.value.get_secret_value(), now=state.clock.now())
    return json_response(secret)


@router.get("", summary="List the project's secrets by name", response_model=Page[Secret], responses=ERRORS())
def list_project_secrets(request: Request, caller: Reader) -> Response:
    """All of them in one page, without their values."""
    with state_of(request).db.read() as tx:
        found = list_secrets(tx, caller.project_id)
    ends = (found[0].name, found[-1].name) if found else (None, None)
    return json_response(Page[Secret](data=found, has_more=False, first_id=ends[0], last_id=ends[1]))


@router.delete("/{name}", summary="Remove a secret", status_code=204, responses=ERRORS(404))
def remove_secret(request: Request, caller: Submitter, name: SecretNamePath) -> Response:
    """Queued jobs that name it will fail; a script that has it already keeps it to its end."""
    state = state_of(request)
    with state.db.begin() as tx:
        delete_secret(tx, caller.project_id, name)
    return Response(status_code=204)


def _vault(state: ApiState) -> Vault:
    if state.vault is None:
        raise NoMasterKey
    return state.vault
