"""INSERT ... ON CONFLICT, which both databases have and SQLAlchemy spells once for each."""

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_or(tx: Connection, table: Table) -> Any:
    """The dialect's insert; the two share ``on_conflict_do_nothing`` and ``on_conflict_do_update``, but no type.

    Its result knows its ``rowcount``, which SQLAlchemy forgets for inserts unless it is asked to keep it.
    """
    statement = sqlite.insert(table) if tx.dialect.name == "sqlite" else postgresql.insert(table)
    return statement.execution_options(preserve_rowcount=True)
