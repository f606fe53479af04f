"""Metrics that a script never meant for us: TensorBoard's files and printed lines, appended to ``metrics.jsonl`` like anybody's."""

import json
import math
import os
import threading
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import ValidationError

from core.recipes.script import MetricPattern
from core.run_dir import MetricLine, ProgressFile, RunDir, read_model, write_atomically
from core.states import Phase
from worker.outcome import last_lines
from worker.script.event_files import NAMES, EventFile, Scalars
from worker.script.layout import ScriptDirs
from worker.script.printed import PrintedMetrics

LOOK_SECONDS = 2.0  # for new event files
MAX_EVENT_FILES = 64


class ScriptMetrics:
    """``gather`` again and again, from any thread; after the one that ``is_over`` it does nothing more."""

    def __init__(self, run_dir: RunDir, dirs: ScriptDirs, patterns: Sequence[MetricPattern]) -> None:
        self._run_dir = run_dir
        self._dirs = dirs
        self._printed = PrintedMetrics(run_dir, patterns)
        self._files: dict[str, EventFile] = {}
        self._looked_at = 0.0
        self._progress: tuple[int, int] | None = None
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()
        self._is_over = False
        self.step = 0

    def gather(self, *, is_over: bool = False) -> None:
        """Appends what is new; ``is_over``: nothing of the script runs any more."""
        with self._lock:
            if not self._is_over:
                self._is_over = is_over
                self._gather()

    def _gather(self) -> None:
        found = self._printed.read(time.time())
        if self._is_over or time.monotonic() - self._looked_at >= LOOK_SECONDS:
            found += self._from_event_files()
            self._looked_at = time.monotonic()
        if found:
            self._append(found)
            self.step = max(self.step, *(scalars.step for scalars in found))
            for scalars in found:
                self._last.update(scalars.values)
            self.tell_progress()

    def tell_progress(self) -> None:
        """Unless the script does so itself, through ``trainyard.run``."""
        path = self._run_dir.progress
        if self._version() == self._progress:
            write_atomically(path, ProgressFile(phase=Phase.TRAINING, step=self.step, at=time.time()), durable=False)
            self._progress = self._version()

    def last_step(self) -> int:
        """The highest that the script or its metrics have told."""
        try:
            told = read_model(self._run_dir.progress, ProgressFile)
        except (ValidationError, OSError):
            told = None
        return max(self.step, told.step if told else 0)

    def last_values(self) -> dict[str, float]:
        """The newest of every metric: those found here, over those in the last lines that the script has written itself."""
        values: dict[str, float] = {}
        for line in last_lines(self._run_dir.metrics).splitlines():
            try:
                values |= {name: value for name, value in MetricLine.model_validate_json(line).values.items() if math.isfinite(value)}
            except ValidationError:
                continue  # cut, or with a gap
        return values | {name: value for name, value in self._last.items() if math.isfinite(value)}

    def _version(self) -> tuple[int, int] | None:
        try:
            status = self._run_dir.progress.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _from_event_files(self) -> list[Scalars]:
        for root in (self._dirs.tensorboard, self._dirs.output_data, self._dirs.code):
            # os.walk passes over folders that vanish meanwhile.
            found = sorted(Path(folder, name) for folder, _, files in os.walk(root) for name in files if fnmatchcase(name, NAMES))
            for path in found[:MAX_EVENT_FILES]:
                self._files.setdefault(str(path), EventFile(path))
        return [scalars for file in self._files.values() for scalars in file.read() if scalars.step >= 0]

    def _append(self, found: Sequence[Scalars]) -> None:
        """Whole lines in one write: the script may append to the same file."""
        lines = [json.dumps({"seq": 0, "step": step, "at": at, "values": values}) + "\n" for step, at, values in found]
        descriptor = os.open(self._run_dir.metrics, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        with open(descriptor, "ab", buffering=0) as file:
            file.write("".join(lines).encode())
