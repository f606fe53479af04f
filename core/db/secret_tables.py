"""Secrets of projects, for their scripts; only ever stored sealed."""

from sqlalchemy import Column, ForeignKey, Table

from core.db.base import Id, Instant, LargeBinary, String, metadata

secrets = Table(
    "secrets",
    metadata,
    Column("project_id", Id, ForeignKey("projects.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    # Nonce and ciphertext by core/access/vault.py; the key is not in the ledger.
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
