"""Create job_code: which uploaded archive a script job runs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_code",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_code_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_code")),
    )
    op.create_index("ix_job_code_sha256", "job_code", ["sha256"])
