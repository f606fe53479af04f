"""The name of an output stream, and how tables find its rows."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table


@dataclass(frozen=True, slots=True)
class StreamKey:
    """One output stream of one rank of an attempt."""

    attempt_id: str
    rank: int
    stream: str

    def columns(self) -> dict[str, str | int]:
        return {"attempt_id": self.attempt_id, "rank": self.rank, "stream": self.stream}

    def rows_of(self, table: Table) -> ColumnElement[Any]:
        """The condition for this stream's rows of ``log_streams`` or ``log_chunks``."""
        return (table.c.attempt_id == self.attempt_id) & (table.c.rank == self.rank) & (table.c.stream == self.stream)
