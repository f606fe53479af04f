"""Every table of the ledger. Bytes of checkpoints and artifacts are not here; their digests are.

Lease columns (``lease_until``) are Unix seconds by the database's own clock; other instants are the API's.
"""

from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint, text
from sqlalchemy.types import BigInteger

from core.db.base import Double, Id, Instant, Integer, Json, LargeBinary, String, Text, Word, metadata
from core.states import AttemptState, JobState


def _only(condition: str) -> dict[str, Any]:
    """Makes an index of these rows alone, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


BigId = BigInteger().with_variant(Integer, "sqlite")

projects = Table(
    "projects",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("public_id", String(16), nullable=False, unique=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    Index("ix_api_keys_project_id_id", "project_id", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", String(128)),
    Column("recipe", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    Column("labels", Json, nullable=False),
    Column("state", Word, nullable=False),
    Column("reason", Word),
    Column("failure", Json),
    Column("priority", Integer, nullable=False),
    Column("nodes", Integer, nullable=False),
    Column("devices_per_node", Integer, nullable=False),
    Column("accelerator", Word, nullable=False),
    Column("isolation", Word, nullable=False, server_default="any"),
    Column("num_attempts", Integer, nullable=False, server_default="0"),
    Column("user_failures", Integer, nullable=False, server_default="0"),
    # The next two count since the last checkpoint progress, which resets them (core/artifacts).
    Column("infrastructure_failures", Integer, nullable=False, server_default="0"),
    Column("node_failures", Integer, nullable=False, server_default="0"),
    Column("checkpoint_step", Integer, nullable=False, server_default="-1"),
    Column("seconds_used", Double, nullable=False, server_default="0"),
    Column("metrics", Json),
    Column("event_seq", Integer, nullable=False, server_default="0"),
    # Rises with every change of this row: the strong ETag of the job.
    Column("version", Integer, nullable=False, server_default="1"),
    Column("available_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("cancel_requested_at", Instant),
    CheckConstraint("state in ({})".format(", ".join(f"'{state}'" for state in JobState)), name="state"),
    Index("ix_jobs_project_id_id", "project_id", "id"),
    Index("ix_jobs_project_id_state_id", "project_id", "state", "id"),
)

# What claims read, in their order. Only queued rows are in it, so it stays small; it holds all that decides whether a
# job fits, so jobs that nobody can run are passed over without a look at their rows.
Index(
    "ix_jobs_claimable",
    jobs.c.priority.desc(),
    jobs.c.created_at,
    jobs.c.id,
    jobs.c.available_at,
    *(jobs.c.nodes, jobs.c.devices_per_node, jobs.c.accelerator, jobs.c.isolation),
    **_only("state = 'queued'"),
)

# The labels of jobs once more, in a form that a list can be filtered by.
job_labels = Table(
    "job_labels",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", String(512), nullable=False),
    Index("ix_job_labels_key_value_job_id", "key", "value", "job_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("job_id", Id, ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Word, nullable=False),
    Column("reason", Word),
    Column("forced", Boolean, nullable=False, server_default=text("false")),
    Column("launched", Word),
    Column("control", Word, nullable=False, server_default="continue"),
    Column("failure", Json),
    Column("progress", Json),
    Column("phases", Json),
    Column("resumed_from_step", Integer),
    Column("metric_seq", Integer, nullable=False, server_default="0"),
    Column("latest_metrics", Json),
    Column("log_bytes", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    UniqueConstraint("job_id", "number"),
    CheckConstraint("state in ({})".format(", ".join(f"'{state}'" for state in AttemptState)), name="state"),
    Index("ix_attempts_live", "state", **_only("state in ('leased', 'running')")),
)

# One row per node of an attempt. An attempt is live while all its members are; the first expired one loses it.
members = Table(
    "members",
    metadata,
    Column("attempt_id", Id, ForeignKey("attempts.id"), primary_key=True),
    Column("node_rank", Integer, primary_key=True),
    Column("worker_id", Id, ForeignKey("workers.id"), nullable=False),
    Column("devices", Json, nullable=False),
    Column("lease_sha256", String(64), nullable=False, unique=True),
    Column("lease_until", Double, nullable=False),
    Index("ix_members_worker_id", "worker_id"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("accelerator", Word, nullable=False),
    Column("devices", Json, nullable=False),
    Column("num_devices", Integer, nullable=False),
    Column("launch", Word, nullable=False),
    Column("isolation", Word, nullable=False, server_default="none"),
    Column("walls", Json),  # with what is lacking
    Column("version", String(64), nullable=False),
    Column("torch_version", String(64)),
    Column("is_draining", Boolean, nullable=False, server_default=text("false")),
    # The drain was the node's own, because it shuts down; registering again ends it. An operator's drain stays.
    Column("is_leaving", Boolean, nullable=False, server_default=text("false")),
    # Unix seconds by the database's clock, like the leases.
    Column("seen_until", Double, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("job_id", Id, ForeignKey("jobs.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("attempt", Integer),
    Column("message", Text, nullable=False),
    Column("data", Json, nullable=False),
    UniqueConstraint("job_id", "seq"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project_id", Id, ForeignKey("projects.id"), primary_key=True),
    Column("method", String(8), primary_key=True),
    Column("path", String(256), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Instant, nullable=False, index=True),
)

metric_blocks = Table(
    "metric_blocks",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("job_id", Id, ForeignKey("jobs.id"), nullable=False),
    Column("attempt_id", Id, ForeignKey("attempts.id"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("num_points", Integer, nullable=False),
    Column("minimum", Double),
    Column("maximum", Double),
    # The batch that brought the newest of these points: live readers ask for what came after the batch they know.
    Column("last_seq", Integer, nullable=False),
    # Packed little-endian columns, see core/metrics/pack.py.
    Column("points", LargeBinary, nullable=False),
    Index("ix_metric_blocks_series", "attempt_id", "name", "id"),
    Index("ix_metric_blocks_newest", "attempt_id", "last_seq"),
    # The small blocks, which are merged into full ones; 512 is core.metrics.pack.CLOSED.
    Index("ix_metric_blocks_open", "attempt_id", "name", "id", **_only("num_points < 512")),
)

log_streams = Table(
    "log_streams",
    metadata,
    Column("attempt_id", Id, ForeignKey("attempts.id"), primary_key=True),
    Column("rank", Integer, primary_key=True),
    Column("stream", Word, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("is_truncated", Boolean, nullable=False, server_default=text("false")),
    Column("is_closed", Boolean, nullable=False, server_default=text("false")),
    # Once compacted, the bytes are one object of the byte store and the chunks are gone.
    Column("blob_sha256", String(64), index=True),
    Index("ix_log_streams_open", "attempt_id", **_only("NOT is_closed")),
)

log_chunks = Table(
    "log_chunks",
    metadata,
    Column("attempt_id", Id, primary_key=True),
    Column("rank", Integer, primary_key=True),
    Column("stream", Word, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("bytes", LargeBinary, nullable=False),
)

# A row here says that the byte store holds the whole object.
blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Id, primary_key=True),
    Column("job_id", Id, ForeignKey("jobs.id"), nullable=False),
    Column("attempt_id", Id, ForeignKey("attempts.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("is_best", Boolean, nullable=False, server_default=text("false")),
    Column("metrics", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("attempt_id", "step"),
    Index("ix_checkpoints_job_id_step", "job_id", "step"),
)

# Which blobs a checkpoint holds on to: what its manifest says, in a form that a join can read.
checkpoint_blobs = Table(
    "checkpoint_blobs",
    metadata,
    Column("checkpoint_id", Id, ForeignKey("checkpoints.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Index("ix_checkpoint_blobs_sha256", "sha256"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("job_id", Id, ForeignKey("jobs.id"), nullable=False),
    Column("attempt_id", Id, ForeignKey("attempts.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("path", String(1024), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("attempt_id", "path"),
    Index("ix_artifacts_job_id_id", "job_id", "id"),
    Index("ix_artifacts_sha256", "sha256"),
)

# One row per duty that a single process must do; whoever holds the unexpired lease does it.
elections = Table(
    "elections",
    metadata,
    Column("duty", Word, primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("lease_until", Double, nullable=False),
)
