"""Note what a job asks of its worker's isolation, and what each worker offers."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("isolation", sa.String(length=32), nullable=False, server_default="any"))
    op.add_column("workers", sa.Column("isolation", sa.String(length=32), nullable=False, server_default="none"))
    op.add_column("workers", sa.Column("walls", sa.Text(), nullable=True))
    op.drop_index("ix_jobs_claimable", "jobs")
    op.create_index(
        "ix_jobs_claimable",
        "jobs",
        [sa.text("priority DESC"), "created_at", "id", "available_at", "nodes", "devices_per_node", "accelerator", "isolation"],
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
