"""Keys of bytes at rest; only ever stored sealed. What opens the first of them is the operator's master key, which is not here."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table

from core.db.base import Id, Instant, Integer, LargeBinary, String, metadata

# One row: a known text under the master key, by which a server tells at its start whether it has the right one.
key_checks = Table(
    "key_checks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("id = 1", name="one"),
)

# A key per project, under the master key. Whoever deletes the row makes unreadable what only this project had.
project_keys = Table(
    "project_keys",
    metadata,
    Column("project_id", Id, ForeignKey("projects.id"), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# The key of an object, once under the key of every project that has sent it. All rows of one digest hold the same key.
blob_keys = Table(
    "blob_keys",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("project_id", Id, ForeignKey("project_keys.project_id"), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    # When an upload last asked for it: a young key may belong to bytes that are not stored yet.
    Column("created_at", Instant, nullable=False),
    Index("ix_blob_keys_project_id", "project_id"),
)
