"""The policy of a project: how many days it keeps each kind of thing. Without one it keeps everything."""

from datetime import datetime

from sqlalchemy import Connection, or_, select

from core.db.conflict import insert_or
from core.db.retention_tables import retention_policies
from core.db.tables import projects
from core.errors import NotFound
from core.wire.projects import ChangeRetentionRequest, Kind, Project, Retention

_DAYS = {kind: retention_policies.c[f"{kind}_days"] for kind in Kind}


def get_project(tx: Connection, project_id: str) -> Project:
    row = tx.execute(select(projects).where(projects.c.id == project_id)).one()
    return Project(id=row.id, name=row.name, created_at=row.created_at, retention=get_retention(tx, project_id))


def find_project(tx: Connection, name: str) -> str:
    """The id of the project of this name, or NotFound."""
    project_id: str | None = tx.scalar(select(projects.c.id).where(projects.c.name == name))
    if project_id is None:
        raise NotFound(f"there is no project {name!r}", param="project")
    return project_id


def get_retention(tx: Connection, project_id: str) -> Retention:
    row = tx.execute(select(retention_policies).where(retention_policies.c.project_id == project_id)).one_or_none()
    return Retention() if row is None else Retention.model_validate(dict(row._mapping))


def change_retention(tx: Connection, project_id: str, change: ChangeRetentionRequest, *, key_id: str | None, now: datetime) -> Retention:
    """Sets what the request names, and leaves the rest. It counts from the next pass of maintenance on."""
    values = {**change.model_dump(exclude_unset=True), "changed_at": now, "key_id": key_id}
    statement = insert_or(tx, retention_policies).values(project_id=project_id, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=["project_id"], set_=values))
    return get_retention(tx, project_id)


def projects_with(tx: Connection) -> list[str]:
    """Projects that do not keep everything for ever."""
    some = or_(*(column.is_not(None) for column in _DAYS.values()))
    return list(tx.scalars(select(retention_policies.c.project_id).where(some).order_by(retention_policies.c.project_id)))
