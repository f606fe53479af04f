"""A node's side of predictions: claim requests of one version that wait together, renew, read its files, answer."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, Double, Select, bindparam, case, delete, false, insert, or_, select, update

from core.db.base import AnyRow
from core.db.clock import db_now
from core.db.model_tables import model_files, model_versions, models
from core.db.prediction_tables import prediction_batches, prediction_requests
from core.db.tables import blobs, workers
from core.errors import LeaseLost, NotFound
from core.ids import new_id
from core.jobs.leases import lease_sha256, new_lease_token
from core.models.queries import manifest_files
from core.predictions.ask import ROWS
from core.wire.predictions import LEASE_SECONDS, ClaimPredictionsRequest, PredictionBatch, PredictionTask, RequestAnswer

MAX_REQUESTS, MAX_BATCH_ROWS, MAX_BATCH_BYTES = 64, 256, 16 << 20
# So long a request waits for a node that holds its model already; then any node may load it.
PREFER_LOADED_SECONDS = 1.0

_WAITING = (
    prediction_requests.c.answer.is_(None),
    prediction_requests.c.expires_at > db_now(),
    or_(prediction_requests.c.taken_until.is_(None), prediction_requests.c.taken_until < db_now()),
)
_IN_SECONDS = (prediction_requests.c.expires_at - db_now()).label("seconds_left")
_INSERT = insert(prediction_batches).values(taken_until=db_now() + bindparam("seconds", type_=Double()))


def claim_predictions(tx: Connection, request: ClaimPredictionsRequest, *, now: datetime) -> PredictionBatch | None:
    """The requests that wait longest and others of the same version, as many as a batch may hold; None when there are none.

    A node that is being drained gets nothing.
    """
    if tx.scalar(select(workers.c.is_draining).where(workers.c.name == request.node)):
        return None
    first = tx.execute(_first(request.loaded)).one_or_none()
    if first is None:
        return None
    taken = _bounded(tx.execute(_same_version(first.version_id)))
    if not taken:
        return None
    batch_id, token = new_id("pbt"), new_lease_token()
    values = {"id": batch_id, "version_id": first.version_id, "node": request.node, "created_at": now}
    tx.execute(_INSERT, {**values, "lease_sha256": lease_sha256(token), "seconds": LEASE_SECONDS})
    mine = prediction_requests.c.id.in_([row.id for row in taken])
    tx.execute(update(prediction_requests).where(mine).values(batch_id=batch_id, taken_until=db_now() + LEASE_SECONDS))
    return PredictionBatch(
        batch_id=batch_id,
        lease_token=token,
        lease_seconds=LEASE_SECONDS,
        version_id=first.version_id,
        model=first.name,
        version=first.number,
        files=manifest_files(tx, first.version_id),
        tasks=tuple(PredictionTask(id=row.id, rows=ROWS.validate_json(row.rows)) for row in taken),
        seconds_left=max(row.seconds_left for row in taken),
    )


def is_any_waiting(tx: Connection) -> bool:
    """Whether a claim may find something; costs no lock."""
    return tx.execute(_first(())).one_or_none() is not None


def renew_batch(tx: Connection, batch_id: str, token: str) -> None:
    """The batch is its node's for ``LEASE_SECONDS`` more. LeaseLost when it has passed on."""
    _fence(tx, batch_id, token)
    until = db_now() + LEASE_SECONDS
    tx.execute(update(prediction_batches).where(prediction_batches.c.id == batch_id).values(taken_until=until))
    tx.execute(update(prediction_requests).where(prediction_requests.c.batch_id == batch_id).values(taken_until=until))


def answer_batch(tx: Connection, batch_id: str, token: str, answers: Iterable[RequestAnswer]) -> list[str]:
    """Stores the answers of requests that still wait for this batch, and ends it; the ids of all that were answered."""
    _fence(tx, batch_id, token)
    answered = []
    for answer in answers:
        mine = (prediction_requests.c.id == answer.request_id, prediction_requests.c.batch_id == batch_id)
        body = answer.model_dump_json().encode()
        if tx.execute(update(prediction_requests).where(*mine).values(answer=body)).rowcount:
            answered.append(answer.request_id)
    tx.execute(delete(prediction_batches).where(prediction_batches.c.id == batch_id))
    return answered


def readable_by_batch(tx: Connection, batch_id: str, token: str, sha256: str) -> int:
    """Size of an object of the batch's version; NotFound for any other."""
    batch = _fence(tx, batch_id, token)
    query = select(blobs.c.size).join(model_files, model_files.c.sha256 == blobs.c.sha256)
    size: int | None = tx.scalar(query.where(model_files.c.version_id == batch.version_id, blobs.c.sha256 == sha256).limit(1))
    if size is None:
        raise NotFound
    return size


def _first(loaded: Sequence[str]) -> Select[tuple[str, str, int]]:
    """The version to serve next. The oldest request wins, but a young one leaves the precedence to versions in memory."""
    query = select(prediction_requests.c.version_id, models.c.name, model_versions.c.number)
    query = query.join(model_versions, model_versions.c.id == prediction_requests.c.version_id)
    query = query.join(models, models.c.id == model_versions.c.model_id)
    young = db_now() - bindparam("patience", PREFER_LOADED_SECONDS, Double())
    is_ready = or_(prediction_requests.c.version_id.in_(loaded) if loaded else false(), prediction_requests.c.created_at <= young)
    order = (case((is_ready, 0), else_=1), prediction_requests.c.id)
    return query.where(*_WAITING).order_by(*order).limit(1)


def _same_version(version_id: str) -> Select[tuple[str, bytes, int, float]]:
    columns = (prediction_requests.c.id, prediction_requests.c.rows, prediction_requests.c.num_rows)
    query = select(*columns, _IN_SECONDS).where(*_WAITING, prediction_requests.c.version_id == version_id)
    return query.order_by(prediction_requests.c.id).limit(MAX_REQUESTS).with_for_update(skip_locked=True, of=prediction_requests)


def _bounded(rows: Iterable[AnyRow]) -> list[AnyRow]:
    """The first ones that fit into a batch; the very first always does."""
    taken: list[AnyRow] = []
    num_rows = num_bytes = 0
    for row in rows:
        num_rows, num_bytes = num_rows + row.num_rows, num_bytes + len(row.rows)
        if taken and (num_rows > MAX_BATCH_ROWS or num_bytes > MAX_BATCH_BYTES):
            break
        taken.append(row)
    return taken


def _fence(tx: Connection, batch_id: str, token: str) -> AnyRow:
    """The batch, locked; LeaseLost unless the token is its own and it has not run out."""
    mine = (prediction_batches.c.id == batch_id, prediction_batches.c.lease_sha256 == lease_sha256(token))
    row = tx.execute(select(prediction_batches).where(*mine, prediction_batches.c.taken_until >= db_now()).with_for_update()).one_or_none()
    if row is None:
        raise LeaseLost("this batch of predictions has ended or passed on: answer nothing more")
    return row
