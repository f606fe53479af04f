"""Metrics in what rank 0 prints, by the patterns that the spec declares."""

from collections import Counter
from collections.abc import Sequence

import re2

from core.recipes.script import MetricPattern
from core.run_dir import RunDir, read_complete_lines
from core.states import Reason
from worker.materialise import CannotPrepare
from worker.script.event_files import Scalars

MAX_LINE_BYTES = 2000
STEP = "step"


class PrintedMetrics:
    """Reads on from where it was. RE2 needs time linear in the line, whatever the pattern; so no pattern can stop a supervisor."""

    def __init__(self, run_dir: RunDir, patterns: Sequence[MetricPattern]) -> None:
        self._logs = run_dir.logs
        self._patterns = [(pattern.name, _compiled(number, pattern)) for number, pattern in enumerate(patterns)]
        self._offset = 0
        self._step: int | None = None
        self._counts: Counter[str] = Counter()

    def read(self, now: float) -> list[Scalars]:
        """One for each line that says something. Without a declared ``step``, a metric's values are counted from 1."""
        found = sorted(self._logs.glob("*/attempt_0/0/stdout.log")) if self._patterns else []
        if not found:
            return []
        try:
            lines, self._offset = read_complete_lines(found[-1], self._offset, root=self._logs)
        except OSError:  # the script has put something else in its place
            return []
        return [scalars for line in lines if len(line) <= MAX_LINE_BYTES for scalars in self._parse(line, now)]

    def _parse(self, line: bytes, now: float) -> list[Scalars]:
        text = line.decode(errors="replace")
        values = {}
        for name, pattern in self._patterns:
            match = pattern.search(text)
            number = _number(match.group(1)) if match else None
            if number is not None:
                values[name] = number
        if STEP in values:
            self._step = max(0, int(values.pop(STEP)))
        if self._step is not None:
            return [Scalars(self._step, now, values)] if values else []
        self._counts.update(values.keys())
        return [Scalars(self._counts[name], now, {name: value}) for name, value in values.items()]


def _compiled(number: int, pattern: MetricPattern) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern.pattern, options)
    except re2.error as error:
        raise CannotPrepare(Reason.USER_ERROR, f"metric_patterns/{number}/pattern: {error}") from None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e308 else None
