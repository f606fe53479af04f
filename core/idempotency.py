"""Answers that were given under an Idempotency-Key, so that the same request again creates nothing twice.

The row is written in the transaction of what the request creates: either both are there or neither is.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from core.db.conflict import insert_or
from core.db.tables import idempotency_keys
from core.errors import KeyReused, RequestInFlight

_KEY = ("project_id", "method", "path", "key")
_RECALL = select(idempotency_keys.c.body_sha256, idempotency_keys.c.status, idempotency_keys.c.body).where(
    *(idempotency_keys.c[name] == bindparam(f"b_{name}") for name in _KEY)
)


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer as it was first given."""

    status: int
    body: str


def recall(tx: Connection, *, project_id: str, method: str, path: str, key: str, body_sha256: str) -> Stored | None:
    """The stored answer, or None for a new key; KeyReused when the key came with another body before."""
    row = tx.execute(_RECALL, {"b_project_id": project_id, "b_method": method, "b_path": path, "b_key": key}).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != body_sha256:
        raise KeyReused
    return Stored(row.status, row.body)


def remember(
    tx: Connection, *, project_id: str, method: str, path: str, key: str, body_sha256: str, status: int, body: str, now: datetime
) -> None:
    """Stores the answer. RequestInFlight when another transaction got there first: roll back, and its answer can be recalled."""
    row = {
        "project_id": project_id,
        "method": method,
        "path": path,
        "key": key,
        "body_sha256": body_sha256,
        "status": status,
        "body": body,
        "created_at": now,
    }
    if tx.execute(insert_or(tx, idempotency_keys).on_conflict_do_nothing(), row).rowcount != 1:
        raise RequestInFlight
