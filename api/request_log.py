"""Gives every request an id, counts and logs its answer, and turns what nobody caught into a plain 500."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from api.measures import Measures
from core.ids import new_id

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
log = logging.getLogger("trainyard.api.requests")


class RequestLog:
    """The outermost layer. Reads and the workers' steady calls are logged at debug, the rest at info."""

    def __init__(self, app: ASGIApp, measures: Measures, templates: Mapping[Callable[..., Any], str]) -> None:
        """``templates``: the path of each endpoint with its parameters' names, so that ids do not become labels without end."""
        self.app = app
        self.measures = measures
        self.templates = templates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id = new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                self._count(scope, status, time.perf_counter() - started)
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except Exception:
            log.exception("request crashed", extra={"event": "request.crashed", "request_id": request_id, "path": scope["path"]})
            if status:
                raise  # the answer has begun; breaking the connection is the only honest end
            await problem(request_id, 500, "something went wrong on the server; the request id finds it in the log")(
                scope, receive, send_counted
            )
        self._log(scope, request_id, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = self.templates.get(scope.get("endpoint", _nothing), "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.measures.note_answer(method, route, status, seconds)

    def _log(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        is_steady = status < 400 and (scope["method"] in ("GET", "HEAD") or scope["path"].startswith("/v1/worker/"))
        level = logging.DEBUG if is_steady else logging.INFO
        if log.isEnabledFor(level):
            log.log(
                level,
                "%s %s %d",
                scope["method"],
                scope["path"],
                status,
                extra={"event": "request.answered", "request_id": request_id, "status": status, "ms": round(seconds * 1000, 1)},
            )


def _nothing() -> None:
    """Stands for the endpoint of a request that no route matched."""
