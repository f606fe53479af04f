"""Create models: their versions, files, aliases, history, and what jobs have to do with them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _models()
    _aliases()
    _jobs()


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("last_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("event_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_models_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_models_project_id_name")),
    )
    op.create_index("ix_models_project_id_id", "models", ["project_id", "id"])
    op.create_table(
        "model_versions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=40)),
        sa.Column("recipe", sa.String(length=64)),
        sa.Column("parent", sa.Text()),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("data_digest", sa.String(length=64)),
        sa.Column("spec_digest", sa.String(length=64)),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("num_files", sa.Integer(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_model_versions_job_id_jobs")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_versions_model_id_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("model_id", "job_id", name=op.f("uq_model_versions_model_id_job_id")),
        sa.UniqueConstraint("model_id", "number", name=op.f("uq_model_versions_model_id_number")),
    )
    op.create_index("ix_model_versions_job_id", "model_versions", ["job_id"])
    op.create_table(
        "model_files",
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_model_files_version_id_model_versions")),
        sa.PrimaryKeyConstraint("version_id", "position", name=op.f("pk_model_files")),
    )
    op.create_index("ix_model_files_sha256", "model_files", ["sha256"])


def _aliases() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_aliases_model_id_models")),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_model_aliases_version_id_model_versions")),
        sa.PrimaryKeyConstraint("model_id", "alias", name=op.f("pk_model_aliases")),
    )
    op.create_index("ix_model_aliases_version_id", "model_aliases", ["version_id"])
    op.create_table(
        "model_events",
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("key_id", sa.String(length=40)),
        sa.Column("alias", sa.String(length=64)),
        sa.Column("version", sa.Integer()),
        sa.Column("previous_version", sa.Integer()),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_events_model_id_models")),
        sa.PrimaryKeyConstraint("model_id", "seq", name=op.f("pk_model_events")),
    )
    op.create_table(
        "model_promotions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("current_version", sa.Integer(), nullable=False),
        sa.Column("metric", sa.String(length=128), nullable=False),
        sa.Column("higher_is_better", sa.Boolean(), nullable=False),
        sa.Column("tolerance", sa.Double(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("candidate_job_id", sa.String(length=40), nullable=False),
        sa.Column("current_job_id", sa.String(length=40), nullable=False),
        sa.Column("candidate", sa.Double()),
        sa.Column("current", sa.Double()),
        sa.Column("outcome", sa.String(length=32)),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(length=40)),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("settled_at", sa.Double()),
        sa.ForeignKeyConstraint(["candidate_job_id"], ["jobs.id"], name=op.f("fk_model_promotions_candidate_job_id_jobs")),
        sa.ForeignKeyConstraint(["current_job_id"], ["jobs.id"], name=op.f("fk_model_promotions_current_job_id_jobs")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_promotions_model_id_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_promotions")),
    )
    op.create_index("ix_model_promotions_model_id_id", "model_promotions", ["model_id", "id"])
    op.create_index(
        "ix_model_promotions_pending",
        "model_promotions",
        ["id"],
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    )


def _jobs() -> None:
    """What specs say of models."""
    op.create_table(
        "job_models",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_models_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_models")),
    )
    op.create_index("ix_job_models_version_id", "job_models", ["version_id"])
    op.create_table(
        "model_requests",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_model_requests_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_model_requests")),
    )
