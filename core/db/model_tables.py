"""Tables of models: their versions, the files of each, aliases and their history. The bytes are objects of the byte store."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Table, UniqueConstraint, text
from sqlalchemy.types import BigInteger

from core.db.base import Double, Id, Instant, Integer, Json, String, Text, Word, metadata

models = Table(
    "models",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("description", Text, nullable=False),
    # Numbers of deleted versions are not given again: a job that names one must not seem to have started from another.
    Column("last_number", Integer, nullable=False, server_default="0"),
    Column("event_seq", Integer, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("project_id", "name"),
    Index("ix_models_project_id_id", "project_id", "id"),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("model_id", Id, ForeignKey("models.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("job_id", Id, ForeignKey("jobs.id")),  # null for uploads
    Column("recipe", String(64)),
    Column("parent", Json),
    Column("metrics", Json, nullable=False),
    Column("data_digest", String(64)),
    Column("spec_digest", String(64)),
    # core.manifest.content_key of its files.
    Column("digest", String(64), nullable=False),
    Column("num_files", Integer, nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("model_id", "number"),
    UniqueConstraint("model_id", "job_id"),
    Index("ix_model_versions_job_id", "job_id"),
)

model_files = Table(
    "model_files",
    metadata,
    Column("version_id", Id, ForeignKey("model_versions.id"), primary_key=True),
    Column("position", Integer, primary_key=True),  # in path order; a path itself may be too long to index
    Column("path", String(1024), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Index("ix_model_files_sha256", "sha256"),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("model_id", Id, ForeignKey("models.id"), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("version_id", Id, ForeignKey("model_versions.id"), nullable=False),
    Column("changed_at", Instant, nullable=False),
    Index("ix_model_aliases_version_id", "version_id"),
)

# What was in production last week is read from here; versions are kept by their number, which outlives them.
model_events = Table(
    "model_events",
    metadata,
    Column("model_id", Id, ForeignKey("models.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("type", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("key_id", Id),
    Column("alias", String(64)),
    Column("version", Integer),
    Column("previous_version", Integer),
    Column("message", Text, nullable=False),
    Column("data", Json, nullable=False),
)

# Promotions whose check runs as jobs. The outcome is null while it is pending.
model_promotions = Table(
    "model_promotions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("model_id", Id, ForeignKey("models.id"), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("current_version", Integer, nullable=False),
    Column("metric", String(128), nullable=False),
    Column("higher_is_better", Boolean, nullable=False),
    Column("tolerance", Double, nullable=False),
    Column("dataset", Json, nullable=False),
    Column("candidate_job_id", Id, ForeignKey("jobs.id"), nullable=False),
    Column("current_job_id", Id, ForeignKey("jobs.id"), nullable=False),
    Column("candidate", Double),
    Column("current", Double),
    Column("outcome", Word),
    Column("message", Text, nullable=False),
    Column("key_id", Id),
    Column("created_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Index("ix_model_promotions_model_id_id", "model_id", "id"),
)

# The few that wait for their jobs.
Index(
    "ix_model_promotions_pending",
    model_promotions.c.id,
    sqlite_where=text("outcome IS NULL"),
    postgresql_where=text("outcome IS NULL"),
)

# What the spec of a job says, in a form that a join can read. A row stays when its version is deleted.
job_models = Table(
    "job_models",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id"), primary_key=True),
    Column("version_id", Id, nullable=False),
    Index("ix_job_models_version_id", "version_id"),
)

# The job whose package another one starts from, until that has ended and longer.
job_bases = Table(
    "job_bases",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id"), primary_key=True),
    Column("base_job_id", Id, nullable=False),
    Index("ix_job_bases_base_job_id", "base_job_id"),
)

# Jobs whose spec says ``register_as``, until they have ended and that is done.
model_requests = Table(
    "model_requests",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id"), primary_key=True),
    Column("name", String(64), nullable=False),
)
