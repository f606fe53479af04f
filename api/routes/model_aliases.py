"""Aliases of models: moved, with a check or without, and removed."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from api.deps import JsonBody, Reader, Submitter, parse, state_of
from api.errors import ERRORS
from api.openapi import body_of
from api.respond import json_response
from api.routes.models import ModelName
from api.strict_route import StrictRoute
from core.errors import CheckFailed
from core.models.aliases import remove_alias
from core.models.promote import promote
from core.models.promotions import get_promotion, list_promotions
from core.wire.base import Page
from core.wire.models import PromoteRequest, Promotion

router = APIRouter(prefix="/models/{name}", tags=["models"], route_class=StrictRoute)

AliasName = Annotated[str, Path(max_length=64, pattern=r"^[a-z][a-z0-9_-]*$", description="such as `production`; not `latest`")]
PromotionId = Annotated[str, Path(max_length=64, description="a promotion's id, `prm_...`")]

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Promotion, "description": "the alias points to the version"},
    202: {"model": Promotion, "description": "the check runs as two jobs; the promotion is pending"},
}


@router.put(
    "/aliases/{alias}",
    summary="Point an alias to a version",
    response_model=Promotion,
    responses={**ERRORS(404, 409, 413, 415, 429), **_ANSWERS},
    openapi_extra=body_of(PromoteRequest),
)
def put_alias(request: Request, caller: Submitter, name: ModelName, alias: AliasName, body: JsonBody) -> Response:
    """With `unless_worse` only if the version is no worse than the one that the alias points to now.

    Without a dataset the recorded metrics decide at once; a check that fails is answered 409 `check_failed`, says both numbers, and
    changes nothing. With a dataset both versions are scored by jobs: 202, and `GET .../promotions/{id}` has the outcome.
    """
    state = state_of(request)
    wanted = parse(PromoteRequest, body)
    with state.db.begin() as tx:
        promotion = promote(
            tx,
            caller.project_id,
            name,
            alias,
            wanted,
            key_id=caller.key_id,
            now=state.clock.now(),
            max_queued=state.settings.max_queued_jobs_per_project,
        )
    if promotion.outcome == "refused":
        raise CheckFailed(promotion.message, param="/unless_worse")
    if promotion.outcome == "pending":
        state.doorbell.ring()
        return json_response(promotion, 202)
    return json_response(promotion)


@router.delete("/aliases/{alias}", summary="Remove an alias", status_code=204, responses=ERRORS(404))
def delete_alias(request: Request, caller: Submitter, name: ModelName, alias: AliasName) -> Response:
    """The version that it pointed to stays."""
    state = state_of(request)
    with state.db.begin() as tx:
        remove_alias(tx, caller.project_id, name, alias, key_id=caller.key_id, now=state.clock.now())
    return Response(status_code=204)


@router.get("/promotions", summary="List promotions that had jobs", response_model=Page[Promotion], responses=ERRORS(404))
def list_all_promotions(request: Request, caller: Reader, name: ModelName) -> Response:
    """The newest hundred."""
    with state_of(request).db.read() as tx:
        page = list_promotions(tx, caller.project_id, name)
    return json_response(page)


@router.get("/promotions/{promotion_id}", summary="Look at a promotion", response_model=Promotion, responses=ERRORS(404))
def look_at_promotion(request: Request, caller: Reader, name: ModelName, promotion_id: PromotionId) -> Response:
    """Pending while one of its jobs has not ended; then both numbers, and what came of it."""
    with state_of(request).db.read() as tx:
        promotion = get_promotion(tx, caller.project_id, name, promotion_id)
    return json_response(promotion)
