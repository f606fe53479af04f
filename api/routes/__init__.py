"""One file per resource. Routes hold no SQL: they open a transaction, call a verb of core, and answer."""

from fastapi import APIRouter, FastAPI

from api.routes import (
    artifacts,
    attempts,
    checkpoints,
    events,
    health,
    jobs,
    keys,
    logs,
    metrics,
    recipes,
    worker_bytes,
    worker_side,
    workers,
)

# In the order in which the API document lists them.
VERSIONED = (jobs, attempts, events, metrics, logs, checkpoints, artifacts, recipes, workers, keys, worker_side, worker_bytes)


def install_routes(app: FastAPI) -> None:
    v1 = APIRouter(prefix="/v1")
    for module in VERSIONED:
        v1.include_router(module.router)
    app.include_router(v1)
    app.include_router(health.router)
