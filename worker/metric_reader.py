"""Turns new lines of ``metrics.jsonl`` into batches for the API, in order and without a gap."""

import json
import logging
import math
import re
from dataclasses import dataclass, field

from core.run_dir import RunDir, read_complete_lines
from core.wire.worker import SeriesPoints

log = logging.getLogger("trainyard.worker.metrics")

MAX_POINTS = 1000
MAX_SERIES = 256
MAX_STEP = 2**53
READ_BYTES = 256 << 10
NAME = re.compile(r"[^\x00-\x1f\x7f]{1,128}")


@dataclass(slots=True)
class Batch:
    """Points of several metrics, each metric's in step order."""

    series: dict[str, SeriesPoints] = field(default_factory=dict)
    num_points: int = 0

    def takes(self, step: int, values: dict[str, float]) -> bool:
        """Whether another line still fits: by count, and because steps must not fall within a batch."""
        if self.num_points + len(values) > MAX_POINTS and self.num_points:
            return False
        fresh = sum(name not in self.series for name in values)
        return len(self.series) + fresh <= MAX_SERIES and all(
            not (known := self.series.get(name)) or known.steps[-1] <= step for name in values
        )

    def add(self, step: int, at: float, values: dict[str, float]) -> None:
        for name, value in values.items():
            points = self.series.setdefault(name, SeriesPoints(steps=[], values=[], times=[]))
            points.steps.append(step)
            points.values.append(value if math.isfinite(value) else None)
            points.times.append(at)
        self.num_points += len(values)


class MetricReader:
    """Reads on from where it was. A line that makes no sense is counted and left out, so that it cannot block the rest."""

    def __init__(self, run_dir: RunDir) -> None:
        self._path = run_dir.metrics
        self._offset = 0
        self._waiting: list[tuple[int, float, dict[str, float]]] = []
        self.num_unreadable = 0

    def next_batch(self) -> Batch | None:
        """At most ``MAX_POINTS`` points; None when there is nothing new."""
        if not self._waiting:
            lines, self._offset = read_complete_lines(self._path, self._offset, READ_BYTES)
            self._waiting = [parsed for line in lines if (parsed := self._parse(line))]
        batch = Batch()
        taken = 0
        for step, at, values in self._waiting:
            if not batch.takes(step, values):
                break
            batch.add(step, at, values)
            taken += 1
        del self._waiting[:taken]
        return batch if taken else None

    def _parse(self, line: bytes) -> tuple[int, float, dict[str, float]] | None:
        try:
            content = json.loads(line)
            step, at = int(content["step"]), float(content["at"])
            values = {str(name): math.nan if value is None else float(value) for name, value in content["values"].items()}
            if not 0 <= step <= MAX_STEP or len(values) > MAX_SERIES or not all(NAME.fullmatch(name) for name in values):
                raise ValueError("out of range")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.num_unreadable += 1
            log.warning("a metrics line is unreadable", extra={"event": "metrics.unreadable", "cause": repr(error)})
            return None
        return step, at, values
