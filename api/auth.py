"""Who calls: an API key or a lease token, read from the Authorization header and from nowhere else.

The two classes are FastAPI dependencies and OpenAPI security schemes at once. They run on the event loop, before any
parameter or body is looked at; a key that is not in the cache costs one hop to a thread.
"""

import hashlib
import time
from dataclasses import dataclass

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from api.threads import in_thread
from core.access.keys import USED_EVERY, Caller, authenticate, note_use
from core.clock import Clock
from core.db.engine import Database
from core.errors import Forbidden, Unauthenticated
from core.jobs.leases import PREFIX
from core.wire.keys import Scope

CACHE_SECONDS = 5.0
MAX_CACHED = 10_000
IMPLIED = {
    Scope.READ: frozenset({Scope.READ, Scope.SUBMIT, Scope.ADMIN}),
    Scope.SUBMIT: frozenset({Scope.SUBMIT, Scope.ADMIN}),
    Scope.ADMIN: frozenset({Scope.ADMIN}),
    Scope.WORKER: frozenset({Scope.WORKER}),
}


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    until: float


class KeyCache:
    """Callers by the hash of their key, for five seconds: that long a revoked key may still be accepted."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._noted: dict[str, float] = {}

    async def caller(self, secret: str) -> Caller:
        """Whose key this is; raises Unauthenticated."""
        digest = hashlib.sha256(secret.encode()).digest()
        known = self._known.get(digest)
        if known is not None and known.until > time.monotonic():
            return known.caller
        caller = await in_thread(self._load, secret)
        if len(self._known) >= MAX_CACHED:
            self._known.clear()
        self._known[digest] = _Known(caller, time.monotonic() + CACHE_SECONDS)
        return caller

    def forget(self) -> None:
        """Asks the ledger again for every key; this process honours a revocation at once."""
        self._known.clear()

    def _load(self, secret: str) -> Caller:
        with self._db.read() as tx:
            caller = authenticate(tx, secret, self._clock.now())
        if self._noted.get(caller.key_id, -USED_EVERY.total_seconds()) + USED_EVERY.total_seconds() <= time.monotonic():
            self._noted[caller.key_id] = time.monotonic()
            with self._db.begin() as tx:
                note_use(tx, caller.key_id, self._clock.now())
        return caller


class KeyWith(SecurityBase):
    """The caller, who must hold a key with this scope; a wider scope implies a narrower one."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.accepted = IMPLIED[scope]
        self.scheme_name = "api_key"
        self.model = HTTPBearer(description="An API key: `Authorization: Bearer ty_...`")

    async def __call__(self, request: Request) -> Caller:
        keys: KeyCache = request.app.state.trainyard.keys
        caller = await keys.caller(bearer(request))
        if self.accepted.isdisjoint(caller.scopes):
            raise Forbidden(f"this needs a key with the scope '{self.scope}'")
        return caller


class LeaseBearer(SecurityBase):
    """The lease token of an attempt. Whether it is that attempt's is decided by the fence, inside the write."""

    def __init__(self) -> None:
        self.scheme_name = "lease"
        self.model = HTTPBearer(description="A lease token, as the answer of a claim carries it")

    async def __call__(self, request: Request) -> str:
        token = bearer(request)
        if not token.startswith(PREFIX):
            raise Unauthenticated("the lease token of this attempt is required: send it as 'Authorization: Bearer lease_...'")
        return token


def bearer(request: Request) -> str:
    """The credentials of the Authorization header; raises Unauthenticated."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated
    return secret.strip()
