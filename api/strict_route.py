"""A route that refuses query parameters that it does not know: a typo such as ``?stat=failed`` must not answer everything."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from core.errors import InvalidInput, Problem


class StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = frozenset(field.alias for field in self.dependant.query_params)

        async def refuse_unknown(request: Request) -> Response:
            if request.scope["query_string"]:
                unknown = [name for name in request.query_params if name not in known]
                if unknown:
                    offered = f"there are {', '.join(sorted(known))}" if known else "there are none here"
                    raise InvalidInput(
                        problems=[Problem(f"/query/{name}", f"there is no such query parameter; {offered}", "unknown") for name in unknown]
                    )
            return await handle(request)

        return refuse_unknown
