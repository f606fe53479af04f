"""Which queued job a node may have next."""

from typing import Any

from sqlalchemy import Select, bindparam, select, text

from core.db.clock import db_now
from core.db.tables import jobs
from core.jobs.awaited import DATA_IS_READY


def fitting(*columns: Any) -> Select[Any]:
    """Queued jobs that may start now on ``num_devices`` devices of one ``kind`` behind walls of one ``isolation``, in the order of claims.

    The literal lets both databases use the partial index, whose order this is; whether data is ready is asked last, of those that fit.
    """
    return (
        select(*columns)
        .where(
            text("state = 'queued'"),
            jobs.c.available_at <= db_now(),
            jobs.c.nodes == 1,
            jobs.c.devices_per_node <= bindparam("num_devices"),
            jobs.c.accelerator.in_(["auto", bindparam("kind")]),
            jobs.c.isolation.in_(["any", bindparam("isolation")]),
            DATA_IS_READY,
        )
        .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
        .limit(1)
    )
