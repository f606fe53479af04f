"""Create what attempts ship: metrics, logs, checkpoints, artifacts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _metrics_and_logs()
    _bytes()


def _metrics_and_logs() -> None:
    """What attempts say while they run."""
    op.create_table(
        "metric_blocks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("num_points", sa.Integer(), nullable=False),
        sa.Column("minimum", sa.Double()),
        sa.Column("maximum", sa.Double()),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_metric_blocks_attempt_id_attempts")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_metric_blocks_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metric_blocks")),
    )
    op.create_index("ix_metric_blocks_newest", "metric_blocks", ["attempt_id", "last_seq"])
    op.create_index(
        "ix_metric_blocks_open",
        "metric_blocks",
        ["attempt_id", "name", "id"],
        sqlite_where=sa.text("num_points < 512"),
        postgresql_where=sa.text("num_points < 512"),
    )
    op.create_index("ix_metric_blocks_series", "metric_blocks", ["attempt_id", "name", "id"])
    op.create_table(
        "log_streams",
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("is_truncated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_closed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("blob_sha256", sa.String(length=64)),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_log_streams_attempt_id_attempts")),
        sa.PrimaryKeyConstraint("attempt_id", "rank", "stream", name=op.f("pk_log_streams")),
    )
    op.create_index(op.f("ix_log_streams_blob_sha256"), "log_streams", ["blob_sha256"])
    op.create_index(
        "ix_log_streams_open",
        "log_streams",
        ["attempt_id"],
        sqlite_where=sa.text("NOT is_closed"),
        postgresql_where=sa.text("NOT is_closed"),
    )
    op.create_table(
        "log_chunks",
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "rank", "stream", "offset", name=op.f("pk_log_chunks")),
    )


def _bytes() -> None:
    """What they hand over; the bytes are in the byte store."""
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blobs")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_best", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_checkpoints_attempt_id_attempts")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_checkpoints_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("attempt_id", "step", name=op.f("uq_checkpoints_attempt_id_step")),
    )
    op.create_index("ix_checkpoints_job_id_step", "checkpoints", ["job_id", "step"])
    op.create_table(
        "checkpoint_blobs",
        sa.Column("checkpoint_id", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_checkpoint_blobs_checkpoint_id_checkpoints"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("checkpoint_id", "sha256", name=op.f("pk_checkpoint_blobs")),
    )
    op.create_index("ix_checkpoint_blobs_sha256", "checkpoint_blobs", ["sha256"])
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_artifacts_attempt_id_attempts")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_artifacts_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
        sa.UniqueConstraint("attempt_id", "path", name=op.f("uq_artifacts_attempt_id_path")),
    )
    op.create_index("ix_artifacts_job_id_id", "artifacts", ["job_id", "id"])
    op.create_index("ix_artifacts_sha256", "artifacts", ["sha256"])
