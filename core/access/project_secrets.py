"""Secrets of a project: written, listed by name, removed, and opened for an attempt that needs them. Nobody reads one back."""

import logging
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, select, text

from core.access.vault import CannotOpen, Vault
from core.db.secret_tables import secrets
from core.errors import InvalidInput, NotFound, Problem
from core.wire.secrets import Secret

log = logging.getLogger("trainyard.secrets")

MAX_PER_PROJECT = 200
_PUT = text(
    "INSERT INTO secrets (project_id, name, sealed, created_at, updated_at) VALUES (:project, :name, :sealed, :now, :now) "
    "ON CONFLICT (project_id, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at"
).bindparams(bindparam("now", type_=secrets.c.created_at.type))


def put_secret(tx: Connection, vault: Vault, project_id: str, name: str, value: str, *, now: datetime) -> Secret:
    """Stores or replaces the value. InvalidInput when the project has as many secrets as it may have."""
    tx.execute(_PUT, {"project": project_id, "name": name, "sealed": vault.seal(value, place_of(project_id, name)), "now": now})
    if (tx.scalar(select(func.count()).where(secrets.c.project_id == project_id)) or 0) > MAX_PER_PROJECT:
        raise InvalidInput(f"a project has {MAX_PER_PROJECT} secrets at most")
    return next(secret for secret in list_secrets(tx, project_id) if secret.name == name)


def list_secrets(tx: Connection, project_id: str) -> list[Secret]:
    """By name, without their values."""
    columns = (secrets.c.name, secrets.c.created_at, secrets.c.updated_at)
    rows = tx.execute(select(*columns).where(secrets.c.project_id == project_id).order_by(secrets.c.name))
    return [Secret.model_validate(dict(row._mapping)) for row in rows]


def delete_secret(tx: Connection, project_id: str, name: str) -> None:
    """NotFound when there is none. A script that has it already keeps it to its end."""
    removed = tx.execute(delete(secrets).where(secrets.c.project_id == project_id, secrets.c.name == name))
    if not removed.rowcount:
        raise NotFound


def require_secrets(tx: Connection, project_id: str, names: Sequence[str]) -> None:
    """InvalidInput, with the place of each, unless the project has secrets of these names."""
    held = set(tx.scalars(select(secrets.c.name).where(secrets.c.project_id == project_id, secrets.c.name.in_(names))))
    missing = [(number, name) for number, name in enumerate(names) if name not in held]
    if missing:
        problems = [Problem(f"/secrets/{number}", f"the project has no secret {name}", "not_found") for number, name in missing]
        raise InvalidInput(problems=problems)


def open_secrets(tx: Connection, vault: Vault | None, project_id: str, names: Sequence[str]) -> dict[str, str]:
    """The values of those that there are and that open: a claim must not fail for one that does not; its attempt says so."""
    if not names or vault is None:
        return {}
    rows = tx.execute(select(secrets.c.name, secrets.c.sealed).where(secrets.c.project_id == project_id, secrets.c.name.in_(names)))
    opened = {}
    for row in rows:
        try:
            opened[row.name] = vault.open(row.sealed, place_of(project_id, row.name))
        except CannotOpen:
            log.error("a secret cannot be opened", extra={"event": "secret.sealed", "project": project_id, "secret": row.name})
    return opened


def place_of(project_id: str, name: str) -> str:
    return f"{project_id}/{name}"
