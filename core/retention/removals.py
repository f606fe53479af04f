"""What retention removed, so that whoever asks for it is told when and why it went."""

from datetime import datetime

from sqlalchemy import Connection, insert, select

from core.db.base import AnyRow
from core.db.retention_tables import removals
from core.errors import Removed
from core.ids import new_id
from core.wire.base import Page, page_of
from core.wire.projects import Kind, Removal

_KEPT = {
    Kind.ARTIFACTS: "artifacts {days} days after their job has ended",
    Kind.CHECKPOINTS: "checkpoints {days} days after their job has ended",
    Kind.LOGS: "logs {days} days after their job has ended",
    Kind.DATASETS: "versions of datasets {days} days after the last use of them",
}


def note_removal(tx: Connection, project_id: str, kind: Kind, subject: str, *, days: int, num_bytes: int, now: datetime) -> Removal:
    """``subject`` is a job's id or ``name@version``; the removal itself is done in the same transaction."""
    row = {"id": new_id("rmv"), "kind": kind, "subject": subject, "days": days, "num_bytes": num_bytes, "removed_at": now}
    tx.execute(insert(removals).values(project_id=project_id, **row))
    return Removal.model_validate(row)


def find_removal(tx: Connection, project_id: str, kind: Kind, subject: str, *, since: datetime | None = None) -> Removal | None:
    """The newest one, of after ``since``; None when there was none."""
    query = select(removals).where(removals.c.project_id == project_id, removals.c.kind == kind, removals.c.subject == subject)
    if since is not None:
        query = query.where(removals.c.removed_at >= since)
    row = tx.execute(query.order_by(removals.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _removal(row)


def refuse_removed(tx: Connection, project_id: str, kind: Kind, subject: str, *, since: datetime | None = None) -> None:
    """Removed, with all that is known, when retention has removed it."""
    removal = find_removal(tx, project_id, kind, subject, since=since)
    if removal is not None:
        raise Removed(told(removal), removed_at=removal.removed_at, rule=removal.rule)


def told(removal: Removal) -> str:
    """For people."""
    what = removal.subject if removal.kind is Kind.DATASETS else f"the {removal.kind} of {removal.subject}"
    verb = "was" if removal.kind is Kind.DATASETS else "were"
    kept = _KEPT[removal.kind].format(days=removal.days)
    return f"{what} {verb} removed on {removal.removed_at:%Y-%m-%d %H:%M} UTC by {removal.rule}: the project keeps {kept}"


def list_removals(tx: Connection, project_id: str, *, after: str | None = None, limit: int = 50) -> Page[Removal]:
    """Newest first."""
    query = select(removals).where(removals.c.project_id == project_id).order_by(removals.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(removals.c.id < after)
    return page_of([_removal(row) for row in tx.execute(query)], limit)


def _removal(row: AnyRow) -> Removal:
    return Removal.model_validate(dict(row._mapping))
