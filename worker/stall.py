"""Tells a hung run from a slow one: by the age of its progress, compared with its own pace."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from core.run_dir import ProgressFile, RunDir, read_model
from core.states import Phase

STEPS_REMEMBERED = 101
MEDIAN_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StallLimits:
    """Seconds. ``asked`` is the spec's own limit and replaces ``training`` where it is set."""

    training: float
    other_phases: float
    asked: float | None = None


class ProgressWatch:
    """The newest ``progress.json``, read only when it was replaced; ``changed_at`` is monotonic."""

    def __init__(self, run_dir: RunDir, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path: Path = run_dir.progress
        self._monotonic = monotonic
        self._version: tuple[int, int] | None = None
        self._paces: deque[float] = deque(maxlen=STEPS_REMEMBERED)
        self.newest: ProgressFile | None = None
        self.changed_at = monotonic()

    def look(self) -> bool:
        """Whether there is something new."""
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino)
            if version == self._version:
                return False
            progress = read_model(self._path, ProgressFile)
        except (OSError, ValidationError):
            return False
        self._version = version
        self.changed_at = self._monotonic()
        self._note_pace(progress)
        self.newest = progress
        return True

    def _note_pace(self, progress: ProgressFile | None) -> None:
        before = self.newest
        if before and progress and before.phase == progress.phase == Phase.TRAINING and progress.step > before.step:
            self._paces.append((progress.at - before.at) / (progress.step - before.step))

    def stalled_for(self, limits: StallLimits) -> float | None:
        """Seconds without progress once they are more than allowed, else None."""
        age = self._monotonic() - self.changed_at
        return age if age > self._allowed(limits) else None

    def _allowed(self, limits: StallLimits) -> float:
        if self.newest is None or self.newest.phase != Phase.TRAINING:
            return max(limits.other_phases, limits.asked or 0.0)
        if limits.asked is not None:
            return limits.asked
        return max(limits.training, MEDIAN_STEPS * median(self._paces) if self._paces else 0.0)
