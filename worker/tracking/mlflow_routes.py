"""MLflow's tracking routes, as its client 3.17 calls them. Every function takes the fields of a request and answers a JSON object.

Protocol: https://mlflow.org/docs/latest/api_reference/rest-api.html. There is one experiment, under whatever name the script asks
for: a run that is given by its id must lie in the experiment that the script has chosen, or the client refuses it.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.tracking import fields
from worker.tracking.answers import Absent, InvalidValue, Json
from worker.tracking.clock import now_ms
from worker.tracking.points import Point
from worker.tracking.runs import Run
from worker.tracking.search import MAX_FILTER, search
from worker.tracking.tracker import Metric, Tracker

Fields = Mapping[str, Any]

EXPERIMENT_ID = "1"
MAX_METRICS = 1_000
MAX_TEXTS = 1_000
MAX_PAGE = 25_000
MAX_RUNS_PAGE = 1_000
STATUSES = {"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"}
RUN_NAME_TAG = "mlflow.runName"


class MlflowRoutes:
    """What ``ROUTES`` names."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def get_experiment_by_name(self, told: Fields) -> Json:
        self._tracker.name_experiment(fields.text(told, "experiment_name", max_length=fields.MAX_TEXT))
        return {"experiment": self._experiment()}

    def create_experiment(self, told: Fields) -> Json:
        self._tracker.name_experiment(fields.text(told, "name", max_length=fields.MAX_TEXT))
        return {"experiment_id": EXPERIMENT_ID}

    def get_experiment(self, told: Fields) -> Json:
        asked = fields.text(told, "experiment_id")
        if asked not in (EXPERIMENT_ID, "0"):  # "0" is the client's own idea of the default
            raise Absent(f"No Experiment with id={asked[:100]} exists")
        return {"experiment": {**self._experiment(), "experiment_id": asked}}

    def search_experiments(self, told: Fields) -> Json:
        return {"experiments": [self._experiment()]}

    def create_run(self, told: Fields) -> Json:
        tags = texts(fields.items(told, "tags", MAX_TEXTS))
        name = fields.text(told, "run_name", tags.get(RUN_NAME_TAG, ""))
        user = fields.text(told, "user_id", "")
        started_ms = fields.integer(told, "start_time", now_ms())
        run = self._tracker.create_run(name, user, started_ms, tags)
        return {"run": self._run(run)}

    def get_run(self, told: Fields) -> Json:
        with self._tracker.lock:
            return {"run": self._run(self._tracker.run(_run_id(told)))}

    def update_run(self, told: Fields) -> Json:
        status = fields.text(told, "status", "") or None
        if status is not None and status not in STATUSES:
            raise InvalidValue(f"Invalid run status '{status[:50]}'")
        ended_ms = fields.integer(told, "end_time") if told.get("end_time") is not None else None
        name = fields.text(told, "run_name", "") or None
        run = self._tracker.update_run(_run_id(told), status=status, ended_ms=ended_ms, name=name)
        if name:
            self._tracker.log(run.run_id, tags={RUN_NAME_TAG: name})
        return {"run_info": self._info(run)}

    def log_metric(self, told: Fields) -> Json:
        return self._log(told, metrics=[_metric(told)])

    def log_parameter(self, told: Fields) -> Json:
        return self._log(told, params=texts([told]))

    def set_tag(self, told: Fields) -> Json:
        return self._log(told, tags=texts([told]))

    def log_batch(self, told: Fields) -> Json:
        metrics = [_metric(item) for item in fields.items(told, "metrics", MAX_METRICS)]
        params = texts(fields.items(told, "params", MAX_TEXTS))
        return self._log(told, metrics, params, texts(fields.items(told, "tags", MAX_TEXTS)))

    def delete_tag(self, told: Fields) -> Json:
        self._tracker.delete_tag(_run_id(told), fields.key(told))
        return {}

    def log_inputs(self, told: Fields) -> Json:
        """Which data sets and models went in: not kept, and no reason to fail a training."""
        self._tracker.run(_run_id(told))
        return {}

    def search_runs(self, told: Fields) -> Json:
        condition = fields.text(told, "filter", "", max_length=MAX_FILTER)
        order = told.get("order_by") or []
        if not isinstance(order, list):
            raise InvalidValue("'order_by' is not a list")
        view = told.get("run_view_type", "ACTIVE_ONLY")
        with self._tracker.lock:
            runs = [] if view == "DELETED_ONLY" else list(self._tracker.runs.by_id.values())
            found = search(runs, condition, order, self._newest_values)
            start, most = _page(told, MAX_RUNS_PAGE)
            page = found[start : start + most]
            return {"runs": [self._run(run) for run in page], **_next(start + most, start + most < len(found))}

    def metric_history(self, told: Fields) -> Json:
        key = fields.key(told, "metric_key")
        name = self._tracker.run(_run_id(told)).series.get(key)
        start, most = _page(told, MAX_PAGE)
        points = self._tracker.points.of(name, start, most + 1) if name else []
        return {"metrics": [_told_metric(key, point) for point in points[:most]], **_next(start + most, len(points) > most)}

    def server_info(self, told: Fields) -> Json:
        return {
            "store_type": "FileStore",
            "workspaces_enabled": False,
            "multipart_uploads_enabled": False,
            "multipart_downloads_enabled": False,
        }

    def _log(self, told: Fields, metrics: Sequence[Metric] = (), params: Mapping[str, str] = {}, tags: Mapping[str, str] = {}) -> Json:
        run_id = _run_id(told)
        self._tracker.log(run_id, metrics, params, tags)
        if run_id == self._tracker.run_id:
            self._tracker.exact.update(metric.key for metric in metrics)
        return {}

    def _experiment(self) -> Json:
        return {
            "experiment_id": EXPERIMENT_ID,
            "name": self._tracker.runs.experiment,
            "artifact_location": "mlflow-artifacts:/",
            "lifecycle_stage": "active",
            "tags": [],
        }

    def _info(self, run: Run) -> Json:
        ended = {"end_time": run.ended_ms} if run.ended_ms is not None else {}
        return {
            "run_id": run.run_id,
            "run_uuid": run.run_id,
            "run_name": run.name,
            "experiment_id": EXPERIMENT_ID,
            "user_id": run.user,
            "status": run.status,
            "start_time": run.started_ms,
            **ended,
            "artifact_uri": f"mlflow-artifacts:/{run.run_id}",
            "lifecycle_stage": "active",
        }

    def _run(self, run: Run) -> Json:
        tags = {RUN_NAME_TAG: run.name, **run.tags}
        data = {
            "metrics": [_told_metric(key, point) for key, point in self._newest(run)],
            "params": [{"key": key, "value": value} for key, value in run.params.items()],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        return {"info": self._info(run), "data": data, "inputs": {}}

    def _newest(self, run: Run) -> list[tuple[str, Point]]:
        newest = self._tracker.points.newest
        return [(key, newest[name]) for key, name in run.series.items() if name in newest]

    def _newest_values(self, run: Run) -> dict[str, float]:
        return {key: point.value for key, point in self._newest(run)}


_API = "/api/2.0/mlflow"
ROUTES = {
    ("GET", f"{_API}/experiments/get-by-name"): MlflowRoutes.get_experiment_by_name,
    ("POST", f"{_API}/experiments/create"): MlflowRoutes.create_experiment,
    ("GET", f"{_API}/experiments/get"): MlflowRoutes.get_experiment,
    ("POST", f"{_API}/experiments/search"): MlflowRoutes.search_experiments,
    ("POST", f"{_API}/runs/create"): MlflowRoutes.create_run,
    ("GET", f"{_API}/runs/get"): MlflowRoutes.get_run,
    ("POST", f"{_API}/runs/update"): MlflowRoutes.update_run,
    ("POST", f"{_API}/runs/log-metric"): MlflowRoutes.log_metric,
    ("POST", f"{_API}/runs/log-parameter"): MlflowRoutes.log_parameter,
    ("POST", f"{_API}/runs/log-batch"): MlflowRoutes.log_batch,
    ("POST", f"{_API}/runs/set-tag"): MlflowRoutes.set_tag,
    ("POST", f"{_API}/runs/delete-tag"): MlflowRoutes.delete_tag,
    ("POST", f"{_API}/runs/log-inputs"): MlflowRoutes.log_inputs,
    ("POST", f"{_API}/runs/outputs"): MlflowRoutes.log_inputs,
    ("POST", f"{_API}/runs/log-model"): MlflowRoutes.log_inputs,
    ("POST", f"{_API}/runs/search"): MlflowRoutes.search_runs,
    ("GET", f"{_API}/metrics/get-history"): MlflowRoutes.metric_history,
    ("GET", "/api/3.0/mlflow/server-info"): MlflowRoutes.server_info,
}


def _run_id(told: Fields) -> str:
    return fields.key(told, "run_id" if told.get("run_id") else "run_uuid")


def _metric(item: Fields) -> Metric:
    at_ms = fields.integer(item, "timestamp", now_ms())
    return Metric(fields.key(item), fields.number(item, "value"), at_ms, fields.integer(item, "step", 0))


def texts(items: Sequence[Fields]) -> dict[str, str]:
    return {fields.key(item): fields.text(item, "value", "") for item in items}


def _told_metric(key: str, point: Point) -> Json:
    """protobuf's JSON tells numbers that JSON does not know as text."""
    value = point.value
    special = "NaN" if value != value else "Infinity" if value == float("inf") else "-Infinity" if value == float("-inf") else None
    return {"key": key, "value": special or value, "timestamp": point.at_ms, "step": point.step}


def _page(told: Fields, most: int) -> tuple[int, int]:
    """Where the page starts that ``page_token`` means, and how many it has."""
    asked = fields.integer(told, "max_results", most)
    if asked < 1:
        raise InvalidValue("'max_results' must be at least 1")
    return _start_of_page(fields.text(told, "page_token", "")), min(asked, most)


def _next(start: int, there_is_more: bool) -> Json:
    return {"next_page_token": base64.urlsafe_b64encode(json.dumps({"start": start}).encode()).decode()} if there_is_more else {}


def _start_of_page(token: str) -> int:
    if not token:
        return 0
    try:
        return max(0, int(json.loads(base64.urlsafe_b64decode(token))["start"]))
    except (ValueError, KeyError, TypeError):
        raise InvalidValue("'page_token' is none of ours") from None
