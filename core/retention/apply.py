"""Removes what projects keep no longer, one thing per transaction. The bytes go with the orphans, unless something else holds them."""

from datetime import datetime, timedelta

from core.db.engine import Database
from core.retention.outputs import due_outputs, remove_outputs
from core.retention.policies import get_retention, projects_with
from core.retention.versions import DueVersion, due_versions, remove_due
from core.wire.projects import Kind

AT_MOST = 500  # of a kind and project in one call: the next one takes the rest


def apply_retention(db: Database, *, now: datetime, limit: int = AT_MOST) -> int:
    """Applies every project's policy; how many things were removed. It may be broken off and repeated at any point."""
    with db.read() as tx:
        found = [(project_id, get_retention(tx, project_id)) for project_id in projects_with(tx)]
    num_removed = 0
    for project_id, policy in found:
        for kind in Kind:
            days = policy.days(kind)
            if days is not None:
                num_removed += _apply(db, project_id, kind, now - timedelta(days=days), now=now, limit=limit)
    return num_removed


def _apply(db: Database, project_id: str, kind: Kind, before: datetime, *, now: datetime, limit: int) -> int:
    if kind is Kind.DATASETS:
        with db.read() as tx:
            versions = due_versions(tx, project_id, before, limit)
        return sum(_remove_version(db, project_id, version, now) for version in versions)
    with db.read() as tx:
        job_ids = due_outputs(tx, project_id, kind, before, limit)
    return sum(_remove_outputs(db, project_id, job_id, kind, now) for job_id in job_ids)


def _remove_version(db: Database, project_id: str, version: DueVersion, now: datetime) -> bool:
    with db.begin() as tx:
        return remove_due(tx, project_id, version, now)


def _remove_outputs(db: Database, project_id: str, job_id: str, kind: Kind, now: datetime) -> bool:
    with db.begin() as tx:
        return remove_outputs(tx, project_id, job_id, kind, now)
