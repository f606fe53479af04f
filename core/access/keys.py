"""API keys: made, recognised, listed, revoked. The ledger keeps an id and a SHA-256, never the key."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from sqlalchemy import Connection, bindparam, insert, select, update

from core.access.projects import ensure_project
from core.access.secret import mint, parse
from core.db.base import AnyRow
from core.db.tables import api_keys, projects
from core.errors import NotFound, Unauthenticated
from core.ids import new_id
from core.wire.base import Page, page_of
from core.wire.keys import ApiKey, CreatedKey, Scope

_KEYS = select(api_keys, projects.c.name.label("project")).join_from(api_keys, projects, api_keys.c.project_id == projects.c.id)
_BY_PUBLIC_ID = _KEYS.where(api_keys.c.public_id == bindparam("public_id"))
_NOBODY = "0" * 64  # compared with when there is no such key, so that the answer takes as long
USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a key speaks for, and what it may do."""

    key_id: str
    project_id: str
    project_name: str
    scopes: frozenset[Scope]


def create_key(
    tx: Connection, *, project: str, name: str, scopes: tuple[Scope, ...], now: datetime, expires_at: datetime | None = None
) -> CreatedKey:
    """A new key of the project, which is made if need be. The answer alone holds the secret."""
    secret = mint()
    wanted = sorted({Scope(scope) for scope in scopes}, key=list(Scope).index)
    row = {"id": new_id("key"), "name": name, "created_at": now, "expires_at": expires_at}
    stored = {"public_id": secret.public_id, "sha256": secret.sha256, "scopes": wanted, "project_id": ensure_project(tx, project, now)}
    tx.execute(insert(api_keys), {**row, **stored})
    return CreatedKey.model_validate({**row, "project": project, "scopes": wanted, "key": secret.text})


def authenticate(tx: Connection, text: str, now: datetime) -> Caller:
    """Whose key this is. Only reads: strangers who try keys must not take the turns of those who write.

    Unauthenticated, with one and the same answer, for a wrong, unknown, expired or revoked key.
    """
    secret = parse(text)
    if secret is None:
        raise Unauthenticated
    row = tx.execute(_BY_PUBLIC_ID, {"public_id": secret.public_id}).one_or_none()
    is_right = compare_digest(row.sha256 if row else _NOBODY, secret.sha256)
    if row is None or not is_right or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        raise Unauthenticated
    return Caller(row.id, row.project_id, row.project, frozenset(map(Scope, row.scopes)))


def list_keys(tx: Connection, project_id: str, *, after: str | None = None, limit: int = 20) -> Page[ApiKey]:
    """The project's keys, newest first, revoked ones included."""
    query = _KEYS.where(api_keys.c.project_id == project_id).order_by(api_keys.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(api_keys.c.id < after)
    return page_of([_key(row) for row in tx.execute(query)], limit)


def revoke_key(tx: Connection, project_id: str, key_id: str, *, now: datetime) -> ApiKey:
    """The key opens nothing any more; revoking it again changes nothing. NotFound for another project's."""
    mine = (api_keys.c.id == key_id, api_keys.c.project_id == project_id)
    tx.execute(update(api_keys).where(*mine, api_keys.c.revoked_at.is_(None)).values(revoked_at=now))
    row = tx.execute(_KEYS.where(*mine)).one_or_none()
    if row is None:
        raise NotFound
    return _key(row)


def note_use(tx: Connection, key_id: str, now: datetime) -> None:
    """The key is in use; noted once in ``USED_EVERY``, however often it is said."""
    is_due = api_keys.c.last_used_at.is_(None) | (api_keys.c.last_used_at <= now - USED_EVERY)
    tx.execute(update(api_keys).where(api_keys.c.id == key_id, is_due).values(last_used_at=now))


def any_active_key(tx: Connection, now: datetime) -> bool:
    """Whether anybody could authenticate now."""
    unexpired = api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > now)
    return tx.scalar(select(api_keys.c.id).where(api_keys.c.revoked_at.is_(None), unexpired).limit(1)) is not None


def _key(row: AnyRow) -> ApiKey:
    return ApiKey.model_validate(dict(row._mapping))
