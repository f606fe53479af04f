"""What Alembic runs: on the connection, and in the transaction, that ``migrations.run`` has opened."""

from alembic import context
from sqlalchemy import Connection, text

from core.db.schema import metadata

# Any number, the same in every release: two migrations of one PostgreSQL ledger wait for each other.
ADVISORY_LOCK = 7_201_640_118_331


def _run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))  # rather fail than stand in the way of a running service
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
    context.run_migrations()


_run(context.config.attributes["connection"])
