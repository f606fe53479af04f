"""The only writer of a state. A move that the table does not allow, or that finds the row elsewhere, changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Table, Update, bindparam, insert, select, update

from core.db.clock import db_now
from core.db.tables import attempts, jobs
from core.errors import IllegalMove
from core.jobs.journal import Entry, write
from core.states import ATTEMPT_MOVES, MOVES, AttemptState, JobState

_INSERT_JOB = insert(jobs).values(available_at=db_now())
_INSERT_ATTEMPT = insert(attempts)
_AFTER_DELAY = db_now() + bindparam("b_delay", type_=Double())


@dataclass(frozen=True, slots=True)
class Moved:
    """What the row of a job says after a move."""

    event_seq: int
    num_attempts: int
    available_at: datetime


def create_job(tx: Connection, row: Mapping[str, Any], *, now: datetime, entry: Entry) -> None:
    """A new job begins its life queued; it may be claimed at once, by the clock that claims are judged by."""
    tx.execute(_INSERT_JOB, {**row, "state": JobState.QUEUED, "event_seq": 1, "created_at": now, "updated_at": now})
    write(tx, row["id"], 1, entry, now)


def create_attempt(tx: Connection, row: Mapping[str, Any], *, now: datetime) -> None:
    """A new attempt begins its life leased."""
    tx.execute(_INSERT_ATTEMPT, {**row, "state": AttemptState.LEASED, "created_at": now})


def move_job(
    tx: Connection,
    job_id: str,
    from_states: frozenset[JobState],
    to: JobState,
    *,
    now: datetime,
    entry: Entry,
    changes: Mapping[str, Any] | None = None,
    available_in: timedelta | None = None,
) -> Moved:
    """Moves the job, sets ``changes`` and appends ``entry`` to its journal. ``available_in`` says when it may be claimed.

    ``changes`` are values of its columns, or SQL expressions; the latter must be constants of a module, for statements
    are cached. Raises IllegalMove unless exactly this row was in one of ``from_states``.
    """
    if any(to not in MOVES.get(state, frozenset()) for state in from_states):
        raise IllegalMove(f"no job moves from {' or '.join(sorted(from_states))} to {to}")
    binds, expressions = _split(changes or {})
    delay = {}
    if available_in is not None:
        expressions += (("available_at", _AFTER_DELAY),)
        delay = {"b_delay": available_in.total_seconds()}
    statement = _job_update(from_states, to, tuple(binds), expressions)
    row = tx.execute(statement, {"b_id": job_id, "b_now": now, **delay, **_prefixed(binds)}).one_or_none()
    if row is None:
        present = tx.scalar(select(jobs.c.state).where(jobs.c.id == job_id))
        raise IllegalMove(f"the job is {present}, so it cannot become {to}", param="state")
    write(tx, job_id, row.event_seq, entry, now)
    return Moved(row.event_seq, row.num_attempts, row.available_at)


def move_attempt(
    tx: Connection,
    attempt_id: str,
    from_states: frozenset[AttemptState],
    to: AttemptState,
    *,
    changes: Mapping[str, Any] | None = None,
    only_if: ColumnElement[bool] | None = None,
) -> bool:
    """Moves the attempt; False, with nothing changed, when it is not in ``from_states`` or ``only_if`` does not hold.

    ``only_if`` is judged by the statement that moves; it must be a constant of a module, too.
    """
    if any(to not in ATTEMPT_MOVES.get(state, frozenset()) for state in from_states):
        raise IllegalMove(f"no attempt moves from {' or '.join(sorted(from_states))} to {to}")
    binds, expressions = _split(changes or {})
    statement = _attempt_update(from_states, to, tuple(binds), expressions, only_if)
    return tx.execute(statement, {"b_id": attempt_id, **_prefixed(binds)}).rowcount == 1


def _split(changes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[tuple[str, ColumnElement[Any]], ...]]:
    """Plain values apart from SQL expressions, so that one statement serves all values."""
    binds = {name: value for name, value in changes.items() if not isinstance(value, ColumnElement)}
    return binds, tuple((name, value) for name, value in changes.items() if name not in binds)


def _prefixed(binds: Mapping[str, Any]) -> dict[str, Any]:
    return {f"b_{name}": value for name, value in binds.items()}  # bare column names are reserved in an UPDATE


@lru_cache(maxsize=256)
def _job_update(
    from_states: frozenset[JobState], to: JobState, names: tuple[str, ...], expressions: tuple[tuple[str, ColumnElement[Any]], ...]
) -> Update:
    statement = _update(jobs, from_states, to, names, expressions)
    now = bindparam("b_now", type_=jobs.c.updated_at.type)
    return statement.values(event_seq=jobs.c.event_seq + 1, version=jobs.c.version + 1, updated_at=now).returning(
        jobs.c.event_seq, jobs.c.num_attempts, jobs.c.available_at
    )


@lru_cache(maxsize=256)
def _attempt_update(
    from_states: frozenset[AttemptState],
    to: AttemptState,
    names: tuple[str, ...],
    expressions: tuple[tuple[str, ColumnElement[Any]], ...],
    only_if: ColumnElement[bool] | None,
) -> Update:
    statement = _update(attempts, from_states, to, names, expressions)
    return statement if only_if is None else statement.where(only_if)


def _update(
    table: Table,
    from_states: frozenset[JobState] | frozenset[AttemptState],
    to: JobState | AttemptState,
    names: tuple[str, ...],
    expressions: tuple[tuple[str, ColumnElement[Any]], ...],
) -> Update:
    columns = {name: bindparam(f"b_{name}", type_=table.c[name].type) for name in names}
    here = update(table).where(table.c.id == bindparam("b_id"), table.c.state.in_(sorted(from_states)))
    return here.values(state=to, **columns, **dict(expressions))
