"""Refuses requests that were meant for another host: a web page that rebinds its own name to this address (DNS rebinding).

An address written as a number cannot be rebound, so it always passes, and so do loopback names, the bind host and the
names that the operator lists.
"""

from functools import lru_cache
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import problem


class HostCheck:
    def __init__(self, app: ASGIApp, allowed: tuple[str, ...]) -> None:
        self.app = app
        self.allowed = frozenset(name.lower().rstrip(".") for name in ("localhost", *allowed))
        self.accepts = lru_cache(maxsize=256)(self._accepts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.accepts(_host(scope)):
            return await self.app(scope, receive, send)
        request_id = scope["state"]["request_id"]
        refusal = problem(request_id, 421, "this server does not answer to that Host; its operator can allow it by TRAINYARD_ALLOWED_HOSTS")
        await refusal(scope, receive, send)

    def _accepts(self, host: str) -> bool:
        """Whether a Host header, with or without a port, names this server."""
        name = _without_port(host).lower().rstrip(".")
        return name in self.allowed or name.endswith(".localhost") or _is_address(name)


def _host(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
