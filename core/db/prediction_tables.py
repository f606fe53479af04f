"""Tables of predictions that are under way. A request lives until its caller has the answer, or does not wait any more."""

from sqlalchemy import Column, ForeignKey, Index, Table, text

from core.db.base import Double, Id, Instant, Integer, LargeBinary, String, metadata

# What one node has claimed: requests of one version, to be predicted together.
prediction_batches = Table(
    "prediction_batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("version_id", Id, nullable=False),
    Column("node", String(128), nullable=False),
    Column("lease_sha256", String(64), nullable=False),
    Column("taken_until", Double, nullable=False),  # by the database's clock
    Column("created_at", Instant, nullable=False),
)

# No foreign key to the version: a question does not keep it from being deleted.
prediction_requests = Table(
    "prediction_requests",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("version_id", Id, nullable=False),
    Column("rows", LargeBinary, nullable=False),  # JSON
    Column("num_rows", Integer, nullable=False),
    Column("batch_id", Id),
    # That of its batch, here as well: of two claims at once, the later one sees the row anew, but other tables as they were.
    Column("taken_until", Double),
    Column("answer", LargeBinary),  # JSON of core.wire.predictions.RequestAnswer
    Column("expires_at", Double, nullable=False),  # by the database's clock
    Column("created_at", Instant, nullable=False),
    Index("ix_prediction_requests_project_id", "project_id"),
    Index("ix_prediction_requests_batch_id", "batch_id"),
)

# The few that wait for an answer.
Index(
    "ix_prediction_requests_unanswered",
    prediction_requests.c.id,
    sqlite_where=text("answer IS NULL"),
    postgresql_where=text("answer IS NULL"),
)
