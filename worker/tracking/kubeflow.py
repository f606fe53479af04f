"""The status POST of Kubeflow Trainer, which transformers sends by itself when it finds the address of a server.

Protocol: ``KubeflowCallback`` in ``transformers/integrations/integration_utils.py`` (5.x). At most every 5 s rank 0 sends
``{"trainerStatus": {"lastUpdatedTime", "progressPercentage": 0-100, "estimatedRemainingSeconds", "metrics": [{"name", "value"}]}}``;
``current_step``, ``total_steps`` and ``current_epoch`` come as metrics. Its estimate of the time left is not taken: after a
resume it divides the new run's time by all steps.
"""

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from worker.tracking import fields
from worker.tracking.answers import InvalidValue, Json
from worker.tracking.clock import now_ms
from worker.tracking.tracker import Metric, Tracker

ROUTE = "/kubeflow/status"
MAX_METRICS = 256
SETTLE_SECONDS = 4.0  # under the hook's own interval: what one report told is added with the next
POSITION = ("current_step", "total_steps", "current_epoch")


class StatusReports:
    """Turns each report into progress at once, and into points of the job's own run a little later.

    A report repeats the last values that were logged, at whatever step the training is by then: only those that changed
    become points, and none of a metric that the script also tells by MLflow, which knows the step. MLflow's client sends from
    a thread of its own, so it may tell a value after the hook has: the hook's points wait until it must have spoken.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._told: dict[str, float] = {}
        self._waiting: deque[tuple[float, Metric]] = deque()

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
            self._note(values)
            self._add(older_than=SETTLE_SECONDS)
        return {}

    def close(self) -> None:
        """Before the tracker closes: the script has ended, and nothing is to be waited for."""
        with self._tracker.lock:
            self._add(older_than=0.0)

    def _note(self, values: Mapping[str, float]) -> None:
        note, now = self._tracker.progress.note, time.monotonic()
        changed = {name: value for name, value in values.items() if self._told.get(name) != value}
        self._told.update(changed)
        self._waiting.extend((now, Metric(name, value, now_ms(), note.step if note else 0)) for name, value in changed.items())

    def _add(self, *, older_than: float) -> None:
        until, settled = time.monotonic() - older_than, []
        while self._waiting and self._waiting[0][0] <= until:
            settled.append(self._waiting.popleft()[1])
        self._tracker.log(self._tracker.run_id, [metric for metric in settled if metric.key not in self._tracker.exact])


def _count(value: float | None) -> int | None:
    return int(value) if value is not None and 0 <= value < 2**53 else None
