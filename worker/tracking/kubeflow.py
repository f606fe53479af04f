"""The status POST of Kubeflow Trainer, which transformers sends by itself when it finds the address of a server.

Protocol: ``KubeflowCallback`` in ``transformers/integrations/integration_utils.py`` (5.x). At most every 5 s rank 0 sends
``{"trainerStatus": {"lastUpdatedTime", "progressPercentage": 0-100, "estimatedRemainingSeconds", "metrics": [{"name", "value"}]}}``;
``current_step``, ``total_steps`` and ``current_epoch`` come as metrics. Its estimate of the time left is not taken: after a
resume it divides the new run's time by all steps.
"""

from collections.abc import Mapping
from typing import Any

from worker.tracking import fields
from worker.tracking.answers import InvalidValue, Json
from worker.tracking.clock import now_ms
from worker.tracking.tracker import Metric, Tracker

ROUTE = "/kubeflow/status"
MAX_METRICS = 256
POSITION = ("current_step", "total_steps", "current_epoch")


class StatusReports:
    """Turns each report into progress and points of the job's own run.

    A report repeats the last values that were logged, at whatever step the training is by then: only those that changed
    become points, and none of a metric that the script also tells by MLflow, which knows the step.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._told: dict[str, float] = {}

    def take(self, content: Mapping[str, Any]) -> Json:
        status = content.get("trainerStatus")
        if not isinstance(status, dict):
            raise InvalidValue("'trainerStatus' is not an object")
        told = fields.items(status, "metrics", MAX_METRICS)
        values = {fields.key(item, "name"): fields.number(item, "value") for item in told}
        step, total, epoch = (_count(values.pop(name, None)) for name in POSITION)
        percentage = fields.integer(status, "progressPercentage") if status.get("progressPercentage") is not None else None
        with self._tracker.lock:
            self._tracker.note_progress(
                step=step,
                total_steps=total or None,
                epoch=epoch,
                percentage=None if percentage is None else min(max(percentage, 0), 100),
            )
            self._add(values)
        return {}

    def _add(self, values: Mapping[str, float]) -> None:
        note = self._tracker.progress.note
        metrics = [
            Metric(name, value, now_ms(), note.step if note else 0)
            for name, value in values.items()
            if name not in self._tracker.exact and self._told.get(name) != value
        ]
        self._told.update({metric.key: metric.value for metric in metrics})
        self._tracker.log(self._tracker.run_id, metrics)


def _count(value: float | None) -> int | None:
    return int(value) if value is not None and 0 <= value < 2**53 else None
