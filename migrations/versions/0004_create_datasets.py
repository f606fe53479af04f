"""Create datasets: their versions, files, and the jobs that read them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64)),
        sa.Column("last_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_datasets_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_datasets_project_id_name")),
    )
    op.create_index("ix_datasets_project_id_id", "datasets", ["project_id", "id"])
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("job_id", sa.String(length=40)),
        sa.Column("message", sa.Text()),
        sa.Column("num_files", sa.Integer(), server_default="0", nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("digest", sa.String(length=64)),
        sa.Column("lineage", sa.Text()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("state in ('uploading', 'validating', 'ready', 'invalid')", name=op.f("ck_dataset_versions_state")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_versions_dataset_id_datasets")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_dataset_versions_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_versions")),
        sa.UniqueConstraint("dataset_id", "number", name=op.f("uq_dataset_versions_dataset_id_number")),
    )
    op.create_index(
        "ix_dataset_versions_waiting",
        "dataset_versions",
        ["job_id"],
        sqlite_where=sa.text("state IN ('uploading', 'validating')"),
        postgresql_where=sa.text("state IN ('uploading', 'validating')"),
    )
    op.create_table(
        "dataset_files",
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("path_key", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["dataset_versions.id"], name=op.f("fk_dataset_files_version_id_dataset_versions")),
        sa.PrimaryKeyConstraint("version_id", "path_key", name=op.f("pk_dataset_files")),
    )
    op.create_index("ix_dataset_files_sha256", "dataset_files", ["sha256"])
    op.create_table(
        "job_datasets",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_datasets_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "channel", name=op.f("pk_job_datasets")),
    )
    op.create_index("ix_job_datasets_version_id", "job_datasets", ["version_id"])
