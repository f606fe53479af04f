"""Points an alias to a version, or takes it away. Every change is a line of the model's history."""

from datetime import datetime

from sqlalchemy import Connection, delete

from core.db.base import AnyRow
from core.db.conflict import insert_or
from core.db.model_tables import model_aliases
from core.errors import InvalidInput, NotFound, Problem
from core.models.finding import LATEST, find_model, version_row
from core.models.history import Happening, record


def check_alias(alias: str) -> None:
    """InvalidInput for a name that means something else already."""
    if alias == LATEST:
        raise InvalidInput(problems=[Problem("/path/alias", f"{LATEST} always is the highest number; choose another alias")])


def move_alias(tx: Connection, version: AnyRow, alias: str, previous: AnyRow | None, *, key_id: str | None, now: datetime) -> str:
    """Points the alias to this version, whose model the caller has locked; what was done, in words."""
    row = {"model_id": version.model_id, "alias": alias, "version_id": version.id, "changed_at": now}
    statement = insert_or(tx, model_aliases).values(row)
    changes = {"version_id": statement.excluded.version_id, "changed_at": statement.excluded.changed_at}
    tx.execute(statement.on_conflict_do_update(index_elements=["model_id", "alias"], set_=changes))
    came_from = "" if previous is None else f", from version {previous.number}"
    message = f"{alias} points to version {version.number}{came_from}"
    number = None if previous is None else previous.number
    told = {"alias": alias, "version": version.number, "previous_version": number}
    record(tx, version.model_id, Happening(type="alias.moved", message=message, key_id=key_id, **told), now)
    return message


def remove_alias(tx: Connection, project_id: str, name: str, alias: str, *, key_id: str, now: datetime) -> None:
    """The alias is gone, the version stays. NotFound when there is none."""
    model = find_model(tx, project_id, name, locked=True)
    version = None if alias == LATEST else version_row(tx, model.id, alias)
    if version is None:
        raise NotFound(f"the model {name!r} has no alias {alias!r}", param="alias")
    tx.execute(delete(model_aliases).where(model_aliases.c.model_id == model.id, model_aliases.c.alias == alias))
    message = f"{alias} was removed from version {version.number}"
    record(tx, model.id, Happening(type="alias.removed", message=message, key_id=key_id, alias=alias, previous_version=version.number), now)
