"""One file per resource. Routes hold no SQL: they open a transaction, call a verb of core, and answer."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.routes import (
    artifacts,
    attempts,
    checkpoints,
    dataset_files,
    datasets,
    events,
    health,
    jobs,
    keys,
    logs,
    metrics,
    model_aliases,
    models,
    predictions,
    projects,
    recipes,
    secrets,
    uploads,
    worker_bytes,
    worker_predictions,
    worker_side,
    workers,
)

PREFIX = "/v1"
# In the order in which the API document lists them.
VERSIONED = (
    jobs,
    attempts,
    events,
    metrics,
    logs,
    checkpoints,
    artifacts,
    uploads,
    models,
    model_aliases,
    predictions,
    datasets,
    dataset_files,
    recipes,
    secrets,
    workers,
    projects,
    keys,
    worker_side,
    worker_bytes,
    worker_predictions,
)


def install_routes(app: FastAPI) -> None:
    for module in VERSIONED:
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(health.router)


def templates() -> dict[Callable[..., Any], str]:
    """The path of each endpoint, with its parameters' names in it."""
    prefixed = [(PREFIX, module.router) for module in VERSIONED] + [("", health.router)]
    return {route.endpoint: prefix + route.path for prefix, router in prefixed for route in router.routes if isinstance(route, APIRoute)}
