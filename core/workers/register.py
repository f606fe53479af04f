"""A node makes itself known, for the first time or after a restart."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, case, select

from core.db.clock import db_now
from core.db.conflict import insert_or
from core.db.tables import workers
from core.errors import ProtocolMismatch
from core.ids import new_id
from core.wire.worker import PROTOCOL, RegisterReply, RegisterRequest

_BY_NAME = select(workers.c.id, workers.c.is_draining).where(workers.c.name == bindparam("name"))


def register(tx: Connection, request: RegisterRequest, *, ttl_seconds: float, now: datetime) -> RegisterReply:
    """Stores what the node is; the same name keeps its id, its attempts and an operator's drain.

    A drain of its own, begun when it was last shut down, is over. ProtocolMismatch for one that speaks otherwise than we.
    """
    if request.protocol != PROTOCOL:
        raise ProtocolMismatch(f"this server speaks protocol {PROTOCOL}, the worker {request.protocol}", param="protocol")
    what_it_is = {
        "accelerator": request.accelerator,
        "devices": [device.model_dump() for device in request.devices],
        "num_devices": len(request.devices),
        "launch": request.launch,
        "isolation": request.isolation.level,
        "walls": request.isolation.model_dump(include={"walls", "lacks"}),
        "version": request.version,
        "torch_version": request.torch_version,
        "seen_until": db_now() + ttl_seconds,
        "last_seen_at": now,
    }
    statement = insert_or(tx, workers).values(id=new_id("wrk"), name=request.name, created_at=now, **what_it_is)
    fresh = {name: statement.excluded[name] for name in what_it_is}
    drained = {"is_draining": case((workers.c.is_leaving, False), else_=workers.c.is_draining), "is_leaving": False}
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_={**fresh, **drained}))
    row = tx.execute(_BY_NAME, {"name": request.name}).one()
    return RegisterReply(worker_id=row.id, lease_ttl_seconds=ttl_seconds, is_draining=row.is_draining)
