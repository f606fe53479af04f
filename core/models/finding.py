"""Finds models and versions. Everything is asked for within a project: another project's names answer like unknown ones."""

from typing import Any

from sqlalchemy import Connection, Select, select

from core.db.base import AnyRow
from core.db.model_tables import model_aliases, model_versions, models
from core.errors import NotFound

LATEST = "latest"
HIGHEST = 2**31 - 1  # what the column of a number holds

VERSIONS: Select[Any] = select(model_versions, models.c.name).join_from(model_versions, models, model_versions.c.model_id == models.c.id)


def find_model(tx: Connection, project_id: str, name: str, *, locked: bool = False) -> AnyRow:
    """The row of the model, or NotFound. Locked, no other transaction changes its versions or aliases before this one has ended."""
    query = select(models).where(models.c.project_id == project_id, models.c.name == name)
    row = tx.execute(query.with_for_update() if locked else query).one_or_none()
    if row is None:
        raise NotFound(f"there is no model {name!r}", param="name")
    return row


def find_version(tx: Connection, project_id: str, name: str, reference: int | str) -> AnyRow:
    """``version_row`` of the project's model of this name, or NotFound."""
    model = find_model(tx, project_id, name)
    row = version_row(tx, model.id, reference)
    if row is None:
        raise NotFound(f"the model {name!r} has no version {reference!r}", param="version")
    return row


def version_row(tx: Connection, model_id: str, reference: int | str, *, locked: bool = False) -> AnyRow | None:
    """A number (as text, too), an alias, or ``latest`` for the highest number; all columns and the model's name. None when there is none.

    Locked, the version cannot be deleted before this transaction has ended.
    """
    query = VERSIONS.where(model_versions.c.model_id == model_id)
    text = str(reference)
    if text == LATEST:
        query = query.order_by(model_versions.c.number.desc()).limit(1)
    elif text.isdecimal():
        if int(text) > HIGHEST:
            return None
        query = query.where(model_versions.c.number == int(text))
    else:
        query = query.join(model_aliases, model_aliases.c.version_id == model_versions.c.id)
        query = query.where(model_aliases.c.model_id == model_id, model_aliases.c.alias == text)
    return tx.execute(query.with_for_update(read=True, of=model_versions) if locked else query).one_or_none()
