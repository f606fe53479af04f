"""A route that refuses query parameters that it does not know, or that come twice: ``?stat=failed`` must not answer everything."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams

from core.errors import InvalidInput, Problem


class StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        fields = self.dependant.query_params
        known = frozenset(field.alias for field in fields)
        repeatable = frozenset(field.alias for field in fields if "list[" in str(field.field_info.annotation))

        async def refuse_odd_queries(request: Request) -> Response:
            if request.scope["query_string"]:
                problems = list(_find_problems(request.query_params, known, repeatable))
                if problems:
                    raise InvalidInput(problems=problems)
            return await handle(request)

        return refuse_odd_queries


def _find_problems(query: QueryParams, known: frozenset[str], repeatable: frozenset[str]) -> Iterator[Problem]:
    offered = f"there are {', '.join(sorted(known))}" if known else "there are none here"
    for name in query:
        if name not in known:
            yield Problem(f"/query/{name}", f"there is no such query parameter; {offered}", "unknown")
        elif name not in repeatable and len(query.getlist(name)) > 1:
            yield Problem(f"/query/{name}", "this query parameter may come once", "repeated")
