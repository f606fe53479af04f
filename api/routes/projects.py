"""The caller's project: how long it keeps what it has, and what was removed for it. Operators may name another one."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from api.deps import Admin, After, JsonBody, Limit, Reader, parse, require_operator, state_of
from api.errors import ERRORS
from api.openapi import body_of
from api.respond import json_response
from api.strict_route import StrictRoute
from core.access.keys import Caller
from core.errors import Forbidden
from core.retention.policies import change_retention, find_project, get_project
from core.retention.removals import list_removals
from core.wire.base import Page
from core.wire.keys import ProjectName, Scope
from core.wire.projects import ChangeRetentionRequest, Project, Removal

router = APIRouter(prefix="/project", tags=["projects"], route_class=StrictRoute)
Named = Annotated[ProjectName | None, Query(description="another project than the caller's; for admin keys of the operator's project")]


@router.get("", summary="Show the project and what it keeps", response_model=Project, responses=ERRORS(404))
def show(request: Request, caller: Reader, project: Named = None) -> Response:
    with state_of(request).db.read() as tx:
        found = get_project(tx, _meant(tx, caller, project))
    return json_response(found)


@router.patch(
    "/retention",
    summary="Change how long the project keeps what it has",
    response_model=Project,
    responses=ERRORS(404, 413, 415),
    openapi_extra=body_of(ChangeRetentionRequest),
)
def change(request: Request, caller: Admin, body: JsonBody, project: Named = None) -> Response:
    """Days, or null for ever; what is left out stays as it is. What is over its time then is removed within minutes, for good."""
    state = state_of(request)
    wanted = parse(ChangeRetentionRequest, body)
    with state.db.begin() as tx:
        project_id = _meant(tx, caller, project)
        change_retention(tx, project_id, wanted, key_id=caller.key_id, now=state.clock.now())
        found = get_project(tx, project_id)
    return json_response(found)


@router.get("/removals", summary="List what retention removed", response_model=Page[Removal], responses=ERRORS(404))
def removals(request: Request, caller: Reader, project: Named = None, after: After = None, limit: Limit = 50) -> Response:
    """Newest first. Jobs tell of theirs among their events, too."""
    with state_of(request).db.read() as tx:
        page = list_removals(tx, _meant(tx, caller, project), after=after, limit=limit)
    return json_response(page)


def _meant(tx: Connection, caller: Caller, name: str | None) -> str:
    if name in (None, caller.project_name):
        return caller.project_id
    require_operator(caller)
    if Scope.ADMIN not in caller.scopes:
        raise Forbidden
    assert name is not None
    return find_project(tx, name)
