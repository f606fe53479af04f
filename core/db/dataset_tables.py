"""Tables of datasets: their versions, the files of each, and which job reads which. The bytes are objects of the byte store."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint, text
from sqlalchemy.types import BigInteger

from core.db.base import Id, Instant, Integer, Json, String, Text, Word, metadata
from core.states import DatasetState

datasets = Table(
    "datasets",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("task", String(64)),
    # Numbers of deleted versions are not given again: a job that names one must not seem to have read another.
    Column("last_number", Integer, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("project_id", "name"),
    Index("ix_datasets_project_id_id", "project_id", "id"),
)

dataset_versions = Table(
    "dataset_versions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("dataset_id", Id, ForeignKey("datasets.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Word, nullable=False),
    # While uploading: the job whose files it will have, or null for uploads. Afterwards: the job that validates it.
    Column("job_id", Id, ForeignKey("jobs.id")),
    Column("message", Text),
    Column("num_files", Integer, nullable=False, server_default="0"),
    Column("num_bytes", BigInteger, nullable=False, server_default="0"),
    # core.manifest.content_key of its files, once they are final.
    Column("digest", String(64)),
    Column("lineage", Json),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("dataset_id", "number"),
    Index("ix_dataset_versions_job_id", "job_id"),
    CheckConstraint("state in ({})".format(", ".join(f"'{state}'" for state in DatasetState)), name="state"),
)

# The few that wait for a job.
Index(
    "ix_dataset_versions_waiting",
    dataset_versions.c.job_id,
    sqlite_where=text("state IN ('uploading', 'validating')"),
    postgresql_where=text("state IN ('uploading', 'validating')"),
)

dataset_files = Table(
    "dataset_files",
    metadata,
    Column("version_id", Id, ForeignKey("dataset_versions.id"), primary_key=True),
    # SHA-256 of the path without case: on some disks two names that differ in case alone are one. A path itself may be too long to index.
    Column("path_key", String(64), primary_key=True),
    Column("path", String(1024), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Index("ix_dataset_files_sha256", "sha256"),
)

# What the spec of a job says, in a form that a join can read. A row stays when its version is deleted.
job_datasets = Table(
    "job_datasets",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id"), primary_key=True),
    Column("channel", String(64), primary_key=True),
    Column("version_id", Id, nullable=False),
    Index("ix_job_datasets_version_id", "version_id"),
)
