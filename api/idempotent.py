"""Idempotency-Key (after draft-ietf-httpapi-idempotency-key): the same POST, sent again, answers the same and makes nothing.

The stored answer is a row of the same transaction as what was made, so there is never one without the other.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Response
from sqlalchemy import Connection

from api.deps import ApiState
from api.respond import json_bytes
from core.access.keys import Caller
from core.idempotency import recall, remember

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="names this request: sent again with the same body within 72 hours, it answers the same and makes nothing",
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """A rendered answer, and whether it is the repetition of an earlier one."""

    status: int
    body: str
    is_replay: bool = False

    def response(self) -> Response:
        return json_bytes(self.body, self.status, {"Idempotent-Replayed": "true"} if self.is_replay else None)


def once(state: ApiState, tx: Connection, caller: Caller, *, path: str, key: str | None, body: bytes, make: Callable[[], Answer]) -> Answer:
    """The stored answer of this key, or that of ``make``, which is stored in the same transaction.

    Raises KeyReused when the key came with another body, RequestInFlight when another request holds it.
    """
    if key is None:
        return make()
    request = {"project_id": caller.project_id, "method": "POST", "path": path, "key": key, "body_sha256": _canonical_sha256(body)}
    stored = recall(tx, **request)
    if stored is not None:
        return Answer(stored.status, stored.body, is_replay=True)
    answer = make()
    remember(tx, **request, status=answer.status, body=answer.body, now=state.clock.now())
    return answer


def _canonical_sha256(body: bytes) -> str:
    """The digest of what the JSON means: spaces and the order of keys do not make it another body."""
    text = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
