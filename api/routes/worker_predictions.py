"""What the predictors of a node call: claim requests with a worker's key; renew, download and answer with the batch's lease."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response

from api.deps import ApiState, JsonBody, LeaseToken, Sha256, WorkerKey, parse, read_json, state_of
from api.errors import ERRORS
from api.live import PREDICTIONS
from api.openapi import body_of
from api.respond import json_response
from api.strict_route import StrictRoute
from api.threads import in_thread
from api.transfer.download import PART_OR_WHOLE, Described, answer
from core.predictions.claim import answer_batch, claim_predictions, is_any_waiting, readable_by_batch, renew_batch
from core.wire.predictions import AnswersRequest, ClaimPredictionsRequest, PredictionBatch

router = APIRouter(prefix="/worker/predictions", tags=["worker"], route_class=StrictRoute)

MAX_ANSWER_BYTES = 32 << 20


async def _large_json(request: Request) -> bytes:
    return await read_json(request, MAX_ANSWER_BYTES)


LargeJsonBody = Annotated[bytes, Depends(_large_json)]
BatchId = Annotated[str, Path(max_length=64, description="a batch's id, `pbt_...`")]


@router.post(
    "/claim",
    summary="Claim requests to predict",
    response_model=PredictionBatch,
    responses={**ERRORS(413, 415), 204: {"description": "Nothing came within `wait_seconds`"}},
    openapi_extra=body_of(ClaimPredictionsRequest),
)
async def claim_batch(request: Request, caller: WorkerKey, body: JsonBody) -> Response:
    """Requests of one version that wait together, with a lease that has to be renewed, the only time that its token is shown."""
    state = state_of(request)
    wanted = parse(ClaimPredictionsRequest, body)
    deadline = time.monotonic() + wanted.wait_seconds
    with state.live.listen(PREDICTIONS) as waiter:
        while True:
            batch = await in_thread(_claim, state, wanted)
            left = deadline - time.monotonic()
            if batch is not None or left <= 0 or state.live.is_closed:
                break
            await waiter.wait(left)
    return Response(status_code=204) if batch is None else json_response(batch)


def _claim(state: ApiState, wanted: ClaimPredictionsRequest) -> PredictionBatch | None:
    with state.db.read() as tx:
        if not is_any_waiting(tx):
            return None
    with state.db.begin() as tx:
        return claim_predictions(tx, wanted, now=state.clock.now())


@router.post("/{batch_id}/renew", summary="Renew the lease of a batch", status_code=204, responses=ERRORS(409))
def renew(request: Request, token: LeaseToken, batch_id: BatchId) -> Response:
    with state_of(request).db.begin() as tx:
        renew_batch(tx, batch_id, token)
    return Response(status_code=204)


@router.get(
    "/{batch_id}/blobs/{sha256}",
    summary="Download an object of the batch's model",
    response_class=Response,
    responses={**ERRORS(404, 409, 416), **PART_OR_WHOLE},
)
def get_model_blob(
    request: Request, batch_id: BatchId, sha256: Sha256, token: LeaseToken, range: Annotated[str | None, Header()] = None
) -> Response:
    """Files of the one version that the batch is for; one byte range at most."""
    state = state_of(request)
    with state.db.begin() as tx:
        size = readable_by_batch(tx, batch_id, token, sha256)
    return answer(request, state.store, Described(sha256, size, "application/octet-stream", sha256), may_redirect=False)


@router.post(
    "/{batch_id}/answers",
    summary="Answer a batch",
    status_code=204,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(AnswersRequest),
)
def add_answers(request: Request, token: LeaseToken, batch_id: BatchId, body: LargeJsonBody) -> Response:
    """The last call of a batch: what waits for one of its requests hears it at once."""
    state = state_of(request)
    wanted = parse(AnswersRequest, body)
    with state.db.begin() as tx:
        answered = answer_batch(tx, batch_id, token, wanted.answers)
    state.live.notify(*(f"{request_id}/prediction" for request_id in answered))
    return Response(status_code=204)
