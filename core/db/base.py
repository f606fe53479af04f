"""Column types that mean the same on SQLite and PostgreSQL, and the metadata that all tables share."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Double, Integer, LargeBinary, MetaData, Row, String, Text, TypeDecorator
from sqlalchemy.engine import Dialect

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant, kept as Unix seconds in a double, so that both databases compare and add alike."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        return None if value is None else value.timestamp()

    def process_result_value(self, value: float | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, UTC)


class Json(TypeDecorator[Any]):
    """A JSON value as text: the ledger stores it and never looks inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


AnyRow = Row[*tuple[Any, ...]]  # of a statement whose columns are known where it is written
Id = String(40)
Word = String(32)
__all__ = ["AnyRow", "Double", "Id", "Instant", "Integer", "Json", "LargeBinary", "String", "Text", "Word", "metadata"]
