"""The history of a model: what became of its versions and aliases, numbered from 1 without a gap."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, insert, update

from core.db.model_tables import model_events, models


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line, before it has a number. ``key_id`` is the API key that asked, None for what a job's spec asked for."""

    type: str
    message: str
    key_id: str | None = None
    alias: str | None = None
    version: int | None = None
    previous_version: int | None = None
    data: Mapping[str, object] = field(default_factory=dict)


def record(tx: Connection, model_id: str, happening: Happening, now: datetime) -> None:
    """Appends a line, in the transaction of what it tells of."""
    following = update(models).where(models.c.id == model_id).values(event_seq=models.c.event_seq + 1).returning(models.c.event_seq)
    seq = tx.execute(following).scalar_one()
    row = {"model_id": model_id, "seq": seq, "at": now, "type": happening.type, "message": happening.message}
    told = {"key_id": happening.key_id, "alias": happening.alias, "version": happening.version}
    tx.execute(insert(model_events).values(**row, **told, previous_version=happening.previous_version, data=dict(happening.data)))
