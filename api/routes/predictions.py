"""Trying a model out: the request waits in the ledger until a node has answered it, and is gone afterwards."""

import time
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.deps import ApiState, Submitter, state_of
from api.errors import ERRORS
from api.live import PREDICTIONS, Waiter
from api.predict_rows import PredictRows, predict_body
from api.respond import json_response
from api.routes.models import ModelName, WantedVersion
from api.strict_route import StrictRoute
from api.threads import in_thread
from core.errors import InvalidInput, Problem, TrainyardError, Unavailable
from core.predictions.ask import Asked, ask, find_answer, forget, why_unanswered
from core.wire.predictions import Prediction, PredictionTiming, RequestAnswer, Rows

router = APIRouter(prefix="/models", tags=["models"], route_class=StrictRoute)

Timeout = Annotated[float, Query(gt=0, le=120, description="seconds to wait for the answer")]


@router.post(
    "/{name}/predict",
    summary="Predict with a model",
    response_model=Prediction,
    responses=ERRORS(404, 413, 415, 429),
    openapi_extra=predict_body(),
)
async def predict(
    request: Request,
    caller: Submitter,
    name: ModelName,
    rows: PredictRows,
    version: WantedVersion = "latest",
    timeout_seconds: Timeout = 30,
) -> Response:
    """Answers one prediction for each row, or 422 with the place of every row that cannot be used.

    Rows are objects for tables, strings for texts, and `{"base64": "..."}` for images and recordings, which may also come as
    the files of a form, or one as the body itself. At most 64 rows and 8 MiB. 503 says why nobody has answered in time.
    """
    state = state_of(request)
    began = time.monotonic()
    asked = await in_thread(_ask, state, caller.project_id, name, version, rows, seconds=timeout_seconds)
    try:
        with state.live.listen(f"{asked.request_id}/prediction") as waiter:
            state.live.notify(PREDICTIONS)
            answer = await _wait(state, asked, waiter, began + timeout_seconds)
        if answer is None:
            why = await in_thread(_why, state, asked)
            raise Unavailable(f"no answer within {timeout_seconds:g} s: {why}")
    finally:
        # What cannot be forgotten now is pruned after its time; the answer must not suffer from it.
        with suppress(TrainyardError):
            await in_thread(_forget, state, asked)
    return json_response(_prediction(asked, answer, time.monotonic() - began))


async def _wait(state: ApiState, asked: Asked, waiter: Waiter, deadline: float) -> RequestAnswer | None:
    while True:
        answer = await in_thread(_find, state, asked)
        left = deadline - time.monotonic()
        if answer is not None or left <= 0 or state.live.is_closed:
            return answer
        await waiter.wait(left)


def _prediction(asked: Asked, answer: RequestAnswer, seconds: float) -> Prediction:
    """InvalidInput when rows cannot be used, or the model itself; Unavailable when its process failed."""
    if answer.failure is not None:
        if answer.failure.kind == "refused":
            raise InvalidInput(answer.failure.message, param="name")
        raise Unavailable(answer.failure.message)
    rows = answer.rows or ()
    problems = [Problem(f"/rows/{number}", row.error, "bad_row") for number, row in enumerate(rows) if row.error is not None]
    if problems:
        raise InvalidInput(problems=problems)
    timing = PredictionTiming(
        total_seconds=seconds, load_seconds=answer.load_seconds, predict_seconds=answer.predict_seconds, batch_size=answer.batch_size
    )
    return Prediction(model=asked.model, version=asked.version, predictions=[row.prediction or {} for row in rows], timing=timing)


def _ask(state: ApiState, project_id: str, name: str, version: str, rows: Rows, *, seconds: float) -> Asked:
    with state.db.begin() as tx:
        return ask(tx, project_id, name, version, rows, seconds=seconds, now=state.clock.now())


def _find(state: ApiState, asked: Asked) -> RequestAnswer | None:
    with state.db.read() as tx:
        return find_answer(tx, asked.request_id)


def _why(state: ApiState, asked: Asked) -> str:
    with state.db.read() as tx:
        return why_unanswered(tx, asked.request_id)


def _forget(state: ApiState, asked: Asked) -> None:
    with state.db.begin() as tx:
        forget(tx, asked.request_id)
