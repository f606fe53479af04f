"""Create the keys of bytes at rest, and how long projects keep what they have."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_keys()
    _create_retention()


def _create_keys() -> None:
    op.create_table(
        "key_checks",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_key_checks_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_checks")),
    )
    op.create_table(
        "project_keys",
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_keys_project_id_projects")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_keys")),
    )
    op.create_table(
        "blob_keys",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project_keys.project_id"], name=op.f("fk_blob_keys_project_id_project_keys")),
        sa.PrimaryKeyConstraint("sha256", "project_id", name=op.f("pk_blob_keys")),
    )
    op.create_index("ix_blob_keys_project_id", "blob_keys", ["project_id"])


def _create_retention() -> None:
    op.create_table(
        "retention_policies",
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("artifacts_days", sa.Integer(), nullable=True),
        sa.Column("checkpoints_days", sa.Integer(), nullable=True),
        sa.Column("logs_days", sa.Integer(), nullable=True),
        sa.Column("datasets_days", sa.Integer(), nullable=True),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_retention_policies_project_id_projects")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_retention_policies")),
    )
    op.create_table(
        "removals",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_removals_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
    )
    op.create_index("ix_removals_subject", "removals", ["project_id", "kind", "subject"])
    op.create_index("ix_removals_project_id_id", "removals", ["project_id", "id"])
    op.create_table(
        "job_bases",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("base_job_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_bases_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_bases")),
    )
    op.create_index("ix_job_bases_base_job_id", "job_bases", ["base_job_id"])
    op.create_index("ix_dataset_versions_job_id", "dataset_versions", ["job_id"])
    _note_bases()


def _note_bases() -> None:
    """What is retained for jobs that were submitted before: those that have not ended name the jobs that they start from."""
    base = "spec::json #>> '{base_model,job}'" if op.get_bind().dialect.name == "postgresql" else "json_extract(spec, '$.base_model.job')"
    unfinished = f"SELECT id, {base} AS base FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"
    op.execute(f"INSERT INTO job_bases (job_id, base_job_id) SELECT id, base FROM ({unfinished}) AS living WHERE base IS NOT NULL")
