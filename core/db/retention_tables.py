"""How long projects keep what they have, and what went for it."""

from sqlalchemy import Column, ForeignKey, Index, Table
from sqlalchemy.types import BigInteger

from core.db.base import Id, Instant, Integer, String, Word, metadata

# Days; null keeps for ever. A project without a row keeps everything.
retention_policies = Table(
    "retention_policies",
    metadata,
    Column("project_id", Id, ForeignKey("projects.id"), primary_key=True),
    Column("artifacts_days", Integer),
    Column("checkpoints_days", Integer),
    Column("logs_days", Integer),
    Column("datasets_days", Integer),
    Column("changed_at", Instant, nullable=False),
    Column("key_id", Id),
)

# What was removed and when, so that who asks for it is told why it is gone.
removals = Table(
    "removals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("kind", Word, nullable=False),
    # A job's id, or name@number of a dataset's version.
    Column("subject", String(128), nullable=False),
    Column("days", Integer, nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("removed_at", Instant, nullable=False),
    Index("ix_removals_subject", "project_id", "kind", "subject"),
    Index("ix_removals_project_id_id", "project_id", "id"),
)
