"""The database's clock as a piece of SQL: the only clock that may judge a lease."""

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class db_now(FunctionElement[float]):
    """Unix seconds by the clock of the machine that runs the database; one statement sees one instant on SQLite."""

    type = Double()
    name = "db_now"
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite(_element: db_now, _compiler: Any, **_options: Any) -> str:
    # unixepoch('subsec') answers NULL before SQLite 3.42.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgres(_element: db_now, _compiler: Any, **_options: Any) -> str:
    # Not now(): that stands still from the start of the transaction, which may have waited for a lock.
    return "extract(epoch from clock_timestamp())::double precision"
