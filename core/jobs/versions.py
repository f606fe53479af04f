"""Which of several jobs have changed, for those who watch many at once."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from core.db.tables import jobs


def versions_of(tx: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    """The version of each job that exists; it rises with every change of the job and with every event."""
    return {row.id: row.version for row in tx.execute(select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(job_ids)))}
