"""Projects: whose everything is. They are made with their first key."""

from datetime import datetime

from sqlalchemy import Connection, select

from core.db.conflict import insert_or
from core.db.tables import projects
from core.ids import new_id


def ensure_project(tx: Connection, name: str, now: datetime) -> str:
    """The id of the project with this name, made now if there is none."""
    row = {"id": new_id("prj"), "name": name, "created_at": now}
    tx.execute(insert_or(tx, projects).on_conflict_do_nothing(index_elements=["name"]), row)
    project_id: str = tx.scalars(select(projects.c.id).where(projects.c.name == name)).one()
    return project_id
