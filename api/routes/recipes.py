"""Recipes: what can be trained, and the JSON Schema of each spec."""

from functools import cache
from inspect import getdoc

from fastapi import APIRouter, Request, Response

from api.deps import Reader
from api.errors import ERRORS
from api.respond import json_response
from api.strict_route import StrictRoute
from core.errors import NotFound
from core.recipes import RECIPES
from core.wire.base import Page
from core.wire.jobs import Recipe

router = APIRouter(prefix="/recipes", tags=["recipes"], route_class=StrictRoute)


@router.get("", summary="List the recipes", response_model=Page[Recipe], responses=ERRORS())
def list_recipes(caller: Reader) -> Response:
    """Every recipe, by name, in one page."""
    return json_response(_page())


@router.get("/{name}", summary="Get one recipe with the JSON Schema of its spec", response_model=Recipe, responses=ERRORS(404))
def get_recipe(caller: Reader, request: Request, name: str) -> Response:
    if name not in RECIPES:
        raise NotFound(f"there is no recipe of this name; there are {', '.join(sorted(RECIPES))}")
    return json_response(_recipe(name))


@cache
def _recipe(name: str) -> Recipe:
    spec = RECIPES[name]
    return Recipe(
        name=name,
        summary=spec.summary,
        description=getdoc(spec) or "",
        metrics=list(spec.metrics),
        json_schema=spec.model_json_schema(),
    )


@cache
def _page() -> Page[Recipe]:
    names = sorted(RECIPES)
    return Page[Recipe](data=[_recipe(name) for name in names], has_more=False, first_id=names[0], last_id=names[-1])
