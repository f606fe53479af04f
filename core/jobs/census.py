"""How many jobs there are, for gauges."""

from sqlalchemy import Connection, func, select

from core.db.tables import jobs
from core.states import JobState

_BY_STATE = select(jobs.c.state, func.count()).group_by(jobs.c.state)


def count_jobs(tx: Connection) -> dict[JobState, int]:
    """Jobs of all projects by state, the states without a job included."""
    found = {JobState(state): int(count) for state, count in tx.execute(_BY_STATE)}
    return {state: found.get(state, 0) for state in JobState}
