"""Whether the process lives, whether it can serve, and what it counts. Outside ``/v1``; no secrets, no names."""

import shutil
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.auth import KeyWith
from api.deps import ApiState, state_of
from api.errors import ERRORS
from api.respond import json_response
from api.threads import in_thread
from core.errors import TrainyardError
from core.jobs.census import count_jobs
from core.wire.base import WireModel
from core.wire.keys import Scope
from migrations.run import is_current

router = APIRouter(tags=["health"])
LEAST_FREE_BYTES = 256 << 20


class Health(WireModel):
    """Each check is `ok` or says what is wrong."""

    status: Literal["ok", "not ready"]
    checks: dict[str, str] = {}


@router.get("/healthz", summary="Whether the process answers", response_model=Health)
async def healthz() -> Response:
    return json_response(Health(status="ok"))


@router.get(
    "/readyz",
    summary="Whether requests can be served",
    response_model=Health,
    responses={503: {"model": Health, "description": "A check failed; the body says which"}},
)
def readyz(request: Request) -> Response:
    """Ledger reachable and migrated, and disk left for bytes."""
    state = state_of(request)
    checks = {"ledger": _check_ledger(state), "disk": _check_disk(state)}
    is_ready = all(finding == "ok" for finding in checks.values())
    return json_response(Health(status="ok" if is_ready else "not ready", checks=checks), 200 if is_ready else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse, responses=ERRORS())
async def metrics(request: Request) -> Response:
    """Counts of the whole service. On a loopback bind no key is asked for; else one with the scope `read`."""
    state = state_of(request)
    if state.settings.is_public:
        await KeyWith(Scope.READ)(request)
    return await in_thread(_metrics, state)


def _metrics(state: ApiState) -> Response:
    with state.db.read() as tx:
        counts = count_jobs(tx)
    for job_state, count in counts.items():
        state.measures.jobs.labels(job_state).set(count)
    return Response(generate_latest(state.measures.registry), media_type=CONTENT_TYPE_LATEST)


def _check_ledger(state: ApiState) -> str:
    try:
        with state.db.read() as tx:
            return "ok" if is_current(tx) else "migrations are pending: run python -m api migrate"
    except TrainyardError as error:
        return error.message


def _check_disk(state: ApiState) -> str:
    free = shutil.disk_usage(state.settings.data_dir).free
    return "ok" if free >= LEAST_FREE_BYTES else f"only {free >> 20} MiB left for bytes"
