"""What nodes and supervisors call: register, heartbeat, claim and drain with a worker's key; start, renew and finish with a lease."""

import time

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.deps import ApiState, AttemptId, JsonBody, LeaseToken, WorkerKey, parse, state_of
from api.errors import ERRORS
from api.openapi import body_of
from api.respond import json_response
from api.strict_route import StrictRoute
from api.threads import in_thread
from core.datasets.settle import settle_datasets
from core.errors import ProtocolMismatch
from core.failpoints import hit
from core.jobs.claim import claim
from core.jobs.finish import finish
from core.jobs.leases import Fence, control_of, renew, start
from core.models.settle import settle_models
from core.states import Control
from core.wire.worker import (
    PROTOCOL,
    Claim,
    ClaimRequest,
    DrainRequest,
    FinishReply,
    FinishRequest,
    HeartbeatReply,
    HeartbeatRequest,
    RegisterReply,
    RegisterRequest,
    RenewReply,
    RenewRequest,
    StartRequest,
)
from core.workers.drain import drain
from core.workers.heartbeat import heartbeat
from core.workers.register import register

router = APIRouter(prefix="/worker", tags=["worker side"], route_class=StrictRoute)


class _Spoken(BaseModel):
    """The one field that every version of the protocol shares."""

    protocol: int


@router.post(
    "/register",
    summary="Register a node",
    response_model=RegisterReply,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(RegisterRequest),
)
def register_worker(request: Request, caller: WorkerKey, body: JsonBody) -> Response:
    """The same name registers again after a restart and keeps its id. Another protocol than this server's is refused."""
    state = state_of(request)
    spoken = parse(_Spoken, body).protocol
    if spoken != PROTOCOL:
        raise ProtocolMismatch(
            f"this server speaks protocol {PROTOCOL}, this worker {spoken}: install the same version of Trainyard on both"
        )
    wanted = parse(RegisterRequest, body)
    with state.db.begin() as tx:
        reply = register(tx, wanted, ttl_seconds=state.settings.lease_ttl_seconds, now=state.clock.now())
    return json_response(reply)


@router.post(
    "/heartbeat",
    summary="Say that a node is there",
    response_model=HeartbeatReply,
    responses=ERRORS(404, 413, 415),
    openapi_extra=body_of(HeartbeatRequest),
)
def beat(request: Request, caller: WorkerKey, body: JsonBody) -> Response:
    """404 tells a node that the ledger does not know it: it registers again."""
    state = state_of(request)
    wanted = parse(HeartbeatRequest, body)
    with state.db.begin() as tx:
        reply = heartbeat(tx, wanted, ttl_seconds=state.settings.lease_ttl_seconds, now=state.clock.now())
    return json_response(reply)


@router.post(
    "/drain",
    summary="Take the calling node out of service",
    status_code=204,
    responses=ERRORS(404, 413, 415),
    openapi_extra=body_of(DrainRequest),
)
def drain_self(request: Request, caller: WorkerKey, body: JsonBody) -> Response:
    """What a node says when it is asked to stop: its supervisors then hear the control word `drain`."""
    state = state_of(request)
    wanted = parse(DrainRequest, body)
    with state.db.begin() as tx:
        jobs = drain(tx, wanted.worker_id, now=state.clock.now(), leaving=True)
    state.live.notify(*jobs)
    return Response(status_code=204)


@router.post(
    "/claim",
    summary="Claim a job for free devices",
    response_model=Claim,
    responses={**ERRORS(404, 413, 415), 204: {"description": "Nothing fits"}},
    openapi_extra=body_of(ClaimRequest),
)
def claim_job(request: Request, caller: WorkerKey, body: JsonBody) -> Response:
    """Answers an attempt and its lease token, the only time that the token is shown."""
    state = state_of(request)
    wanted = parse(ClaimRequest, body)
    with state.db.begin() as tx:
        ttl = state.settings.lease_ttl_seconds
        claimed = claim(tx, request=wanted, ttl_seconds=ttl, now=state.clock.now(), vault=state.vault)
        hit("claim.before_commit")
    hit("claim.after_commit")
    if claimed is None:
        return Response(status_code=204)
    state.live.notify(claimed.job_id)
    return json_response(claimed)


@router.post(
    "/attempts/{attempt_id}/start",
    summary="Say that an attempt runs",
    status_code=204,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(StartRequest),
)
def start_attempt(request: Request, token: LeaseToken, attempt_id: AttemptId, body: JsonBody) -> Response:
    state = state_of(request)
    wanted = parse(StartRequest, body)
    with state.db.begin() as tx:
        held = start(tx, attempt_id, token, wanted, state.clock.now())
    state.live.notify(held.job_id)
    return Response(status_code=204)


@router.post(
    "/attempts/{attempt_id}/renew",
    summary="Renew a lease, and wait for a control word",
    response_model=RenewReply,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(RenewRequest),
)
async def renew_lease(request: Request, token: LeaseToken, attempt_id: AttemptId, body: JsonBody) -> Response:
    """Renews at once; the answer comes with a control word other than `seen`, at the latest after `wait_seconds`."""
    state = state_of(request)
    wanted = parse(RenewRequest, body)
    held = await in_thread(_renew, state, attempt_id, token)
    control = held.control
    deadline = time.monotonic() + wanted.wait_seconds
    with state.live.listen(held.job_id) as waiter:
        while control == wanted.seen and (left := deadline - time.monotonic()) > 0 and not state.live.is_closed:
            control = await in_thread(_control, state, attempt_id, token)
            if control == wanted.seen:
                await waiter.wait(left)
    return json_response(RenewReply(control=control, lease_ttl_seconds=state.settings.lease_ttl_seconds))


@router.post(
    "/attempts/{attempt_id}/finish",
    summary="Say how an attempt ended",
    response_model=FinishReply,
    responses=ERRORS(409, 413, 415),
    openapi_extra=body_of(FinishRequest),
)
def finish_attempt(request: Request, token: LeaseToken, attempt_id: AttemptId, body: JsonBody) -> Response:
    """The last call of a lease. Sent again after a lost answer it answers the same."""
    state = state_of(request)
    wanted = parse(FinishRequest, body)
    with state.db.begin() as tx:
        reply = finish(tx, attempt_id, token, wanted, state.clock.now())
        settle_models(tx, state.clock.now(), job_id=reply.job_id)
        settled = settle_datasets(tx, state.clock.now(), job_id=reply.job_id)
        hit("finish.before_commit")
    hit("finish.after_commit")
    state.live.notify(reply.job_id, *settled.failed_jobs)
    state.doorbell.ring()
    return json_response(reply)


def _renew(state: ApiState, attempt_id: str, token: str) -> Fence:
    with state.db.begin() as tx:
        held = renew(tx, attempt_id, token, state.settings.lease_ttl_seconds)
        hit("renew.before_commit")
    hit("renew.after_commit")
    return held


def _control(state: ApiState, attempt_id: str, token: str) -> Control:
    with state.db.read() as tx:
        return control_of(tx, attempt_id, token)
