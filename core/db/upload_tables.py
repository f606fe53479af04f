"""What projects have brought: bytes on their way into datasets, models and scripts."""

from sqlalchemy import Column, ForeignKey, Index, Table
from sqlalchemy.types import BigInteger

from core.db.base import Id, Instant, String, metadata

# A row here says that this project has sent these very bytes. That the store has them for somebody else proves nothing:
# who knows a digest must not get the object for it.
uploads = Table(
    "uploads",
    metadata,
    Column("project_id", Id, ForeignKey("projects.id"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("ix_uploads_sha256", "sha256"),
)

# The uploaded archive that a script job runs: what its spec says, in a form that a join can read.
job_code = Table(
    "job_code",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id"), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Index("ix_job_code_sha256", "sha256"),
)
