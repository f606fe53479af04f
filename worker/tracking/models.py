"""Logged models, as MLflow 3 has them: what ``log_model`` makes first, and puts the files of the model under.

Enough of ``/logged-models`` for a script's own ``log_model`` and ``load_model``; the bytes are artifacts like any other, kept and
never read here.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from worker.tracking import fields
from worker.tracking.answers import Absent, Json, NoRoute, TooLarge
from worker.tracking.clock import now_ms
from worker.tracking.mlflow_routes import EXPERIMENT_ID, texts
from worker.tracking.runs import LoggedModel
from worker.tracking.tracker import Tracker

Fields = Mapping[str, Any]

ROUTE = "/api/2.0/mlflow/logged-models"
MAX_MODELS = 1_000
MAX_TEXTS = 1_000
PENDING = "LOGGED_MODEL_PENDING"
STATUSES = {1: PENDING, 2: "LOGGED_MODEL_READY", 3: "LOGGED_MODEL_UPLOAD_FAILED"}


class ModelRoutes:
    """``route`` answers what lies below ``ROUTE``."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def route(self, method: str, rest: str, told: Fields) -> Json:
        """``rest`` is what follows ``ROUTE`` and its slash."""
        model_id, _, below = rest.partition("/")
        with self._tracker.lock:
            if (method, rest) == ("POST", ""):
                return self._create(told)
            if (method, rest) == ("POST", "search"):
                return {"models": [_rendered(model) for model in self._tracker.runs.models.values()]}
            model = self._tracker.runs.models.get(model_id)
            if model is None:
                raise Absent(f"Logged model with ID '{model_id[:100]}' not found")
            if (method, below) == ("GET", ""):
                return {"model": _rendered(model)}
            return self._change(model, method, below, told)

    def _create(self, told: Fields) -> Json:
        if len(self._tracker.runs.models) >= MAX_MODELS:
            raise TooLarge(f"a job logs at most {MAX_MODELS} models")
        model = LoggedModel(
            model_id=f"m-{uuid.uuid4().hex}",
            name=fields.text(told, "name", "model"),
            model_type=fields.text(told, "model_type", ""),
            source_run_id=fields.text(told, "source_run_id", ""),
            status=PENDING,
            created_ms=now_ms(),
            updated_ms=now_ms(),
            tags=texts(fields.items(told, "tags", MAX_TEXTS)),
            params=texts(fields.items(told, "params", MAX_TEXTS)),
        )
        self._tracker.keep_model(model)
        return {"model": _rendered(model)}

    def _change(self, model: LoggedModel, method: str, below: str, told: Fields) -> Json:
        if len(model.tags) + len(model.params) > MAX_TEXTS:
            raise TooLarge(f"a logged model has at most {MAX_TEXTS} parameters and tags")
        if (method, below) == ("PATCH", ""):
            status = told.get("status")
            model.status = STATUSES.get(status, PENDING) if isinstance(status, int) else fields.text(told, "status", max_length=50)
        elif (method, below) == ("PATCH", "tags"):
            model.tags.update(texts(fields.items(told, "tags", MAX_TEXTS)))
        elif (method, below) == ("POST", "params"):
            model.params.update(texts(fields.items(told, "params", MAX_TEXTS)))
        else:
            raise NoRoute(f"{method} {below[:100]} of a logged model is not tracked here")
        model.updated_ms = now_ms()
        self._tracker.keep_model(model)
        return {"model": _rendered(model)}


def _rendered(model: LoggedModel) -> Json:
    info = {
        "model_id": model.model_id,
        "experiment_id": EXPERIMENT_ID,
        "name": model.name,
        "creation_timestamp_ms": model.created_ms,
        "last_updated_timestamp_ms": model.updated_ms,
        "artifact_uri": f"mlflow-artifacts:/{model.model_id}",
        "status": model.status,
        "model_type": model.model_type,
        "source_run_id": model.source_run_id,
        "tags": [{"key": key, "value": value} for key, value in model.tags.items()],
    }
    return {"info": info, "data": {"params": [{"key": key, "value": value} for key, value in model.params.items()]}}
