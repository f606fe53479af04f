"""A node says that it is there, and hears whether there is something to do."""

from datetime import datetime

from sqlalchemy import Connection, Double, bindparam, update

from core.db.clock import db_now
from core.db.tables import jobs, workers
from core.errors import NotFound
from core.jobs.fitting import fitting
from core.wire.worker import HeartbeatReply, HeartbeatRequest

_BEAT = (
    update(workers)
    .where(workers.c.id == bindparam("worker"))
    .values(
        seen_until=db_now() + bindparam("ttl", type_=Double()),
        last_seen_at=bindparam("now", type_=workers.c.last_seen_at.type),
        launch=bindparam("mode", type_=workers.c.launch.type),
    )
    .returning(workers.c.accelerator, workers.c.isolation, workers.c.is_draining)
)
_FITTING = fitting(jobs.c.id)


def heartbeat(tx: Connection, request: HeartbeatRequest, *, ttl_seconds: float, now: datetime) -> HeartbeatReply:
    """The node counts as online for ``ttl_seconds`` more. NotFound tells it to register."""
    row = tx.execute(_BEAT, {"worker": request.worker_id, "ttl": ttl_seconds, "now": now, "mode": request.launch}).one_or_none()
    if row is None:
        raise NotFound("there is no such worker: register first", param="worker_id")
    num_free = len(set(request.free_devices))
    may_claim = not row.is_draining and num_free > 0
    offered = {"num_devices": num_free, "kind": row.accelerator, "isolation": row.isolation}
    has_work = may_claim and tx.scalar(_FITTING, offered) is not None
    return HeartbeatReply(is_draining=row.is_draining, has_work=has_work)
