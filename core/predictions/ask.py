"""A caller's side of a prediction: put the request where nodes find it, look for the answer, take it away."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import Connection, Double, LargeBinary, bindparam, delete, func, insert, select

from core.db.clock import db_now
from core.db.prediction_tables import prediction_batches, prediction_requests
from core.db.tables import workers
from core.errors import TooManyQueued
from core.ids import new_id
from core.models.finding import find_version
from core.wire.predictions import RequestAnswer, Rows

MAX_WAITING = 128  # requests of one project

ROWS: TypeAdapter[Rows] = TypeAdapter(Rows)
_INSERT = insert(prediction_requests).values(
    expires_at=db_now() + bindparam("seconds", type_=Double()), rows=bindparam("body", type_=LargeBinary())
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that waits, and the version that it means."""

    request_id: str
    model: str
    version: int


def ask(tx: Connection, project_id: str, name: str, reference: str, rows: Rows, *, seconds: float, now: datetime) -> Asked:
    """Stores a request that waits for ``seconds``. NotFound for an unknown version, TooManyQueued when too many wait already."""
    version = find_version(tx, project_id, name, reference)
    waiting = select(func.count()).where(
        prediction_requests.c.project_id == project_id, prediction_requests.c.expires_at > db_now(), prediction_requests.c.answer.is_(None)
    )
    if (tx.scalar(waiting) or 0) >= MAX_WAITING:
        raise TooManyQueued(f"{MAX_WAITING} predictions of this project are waiting; try again when some are answered")
    request_id = new_id("prd")
    values = {"id": request_id, "project_id": project_id, "version_id": version.id, "num_rows": len(rows), "created_at": now}
    tx.execute(_INSERT, {**values, "body": ROWS.dump_json(rows), "seconds": seconds})
    return Asked(request_id, version.name, version.number)


def find_answer(tx: Connection, request_id: str) -> RequestAnswer | None:
    answer = tx.scalar(select(prediction_requests.c.answer).where(prediction_requests.c.id == request_id))
    return None if answer is None else RequestAnswer.model_validate_json(answer)


def forget(tx: Connection, request_id: str) -> None:
    """The caller has its answer, or waits no more: the rows are nobody's business any longer."""
    tx.execute(delete(prediction_requests).where(prediction_requests.c.id == request_id))


def why_unanswered(tx: Connection, request_id: str) -> str:
    """What a caller can do about a request that got no answer in its time."""
    taken = select(prediction_batches.c.node).join(prediction_requests, prediction_requests.c.batch_id == prediction_batches.c.id)
    node = tx.scalar(taken.where(prediction_requests.c.id == request_id))
    if node is not None:
        return f"{node} has it and is not done: a first request loads the model, so ask again, or allow more with timeout_seconds"
    if not tx.scalar(select(func.count()).where(workers.c.seen_until >= db_now())):
        return "no node is online: start one with `trainyard worker`"
    return "no node with predictors is free or online: nodes whose TRAINYARD_PREDICTORS is 0 have none, and drained ones answer nothing"
