"""Which files an attempt reads, by channel."""

from sqlalchemy import Connection, select

from core.datasets.queries import files_of
from core.db.dataset_tables import job_datasets
from core.wire.worker import ContentSource


def dataset_sources(tx: Connection, job_id: str) -> dict[str, ContentSource]:
    rows = tx.execute(select(job_datasets.c.channel, job_datasets.c.version_id).where(job_datasets.c.job_id == job_id))
    return {row.channel: ContentSource(files=files_of(tx, row.version_id)) for row in rows.all()}
