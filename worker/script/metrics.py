"""Metrics that a script never meant for us (of trackers, TensorBoard, printed lines), appended to ``metrics.jsonl`` like anybody's."""

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
from core.run_dir import MetricLine, ProgressFile, RunDir, read_complete_lines, read_model, write_atomically
from core.states import Phase
from worker.outcome import last_lines
from worker.script.event_files import NAMES, EventFile, Scalars
from worker.script.layout import ScriptDirs
from worker.script.printed import PrintedMetrics
from worker.script.reporting import Reporting

LOOK_SECONDS = 2.0  # for new event files
MAX_EVENT_FILES = 64
MAX_LINE_BYTES = 256 << 10


class ScriptMetrics:
    """``gather`` again and again, from any thread; after the one that ``is_over`` it does nothing more."""

    def __init__(self, run_dir: RunDir, dirs: ScriptDirs, patterns: Sequence[MetricPattern], reporting: Reporting | None = None) -> None:
        self._run_dir = run_dir
        self._reporting = reporting
        self._dirs = dirs
        self._printed = PrintedMetrics(run_dir, patterns)
        self._files: dict[str, EventFile] = {}
        self._looked_at = 0.0
        self._told: ProgressFile | None = None
        self._told_offset = 0
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
        self._take_reports()
        found = self._printed.read(time.time())
        if self._reporting is not None:
            found += self._reporting.read()
        if self._is_over or time.monotonic() - self._looked_at >= LOOK_SECONDS:
            found += self._from_event_files()
            self._looked_at = time.monotonic()
        if found:
            self._append([json.dumps({"seq": 0, "step": step, "at": at, "values": values}).encode() for step, at, values in found])
            self.step = max(self.step, *(scalars.step for scalars in found))
            for scalars in found:
                self._last.update(scalars.values)
            self.tell_progress()

    def tell_progress(self) -> None:
        """Unless the script does so itself, through ``trainyard.run``."""
        if self._told is not None:
            return
        told = self._reporting.progress() if self._reporting is not None else None
        facts = {"total_steps": told.total_steps, "epoch": told.epoch, "total_epochs": told.total_epochs} if told else {}
        self._write_progress(ProgressFile(phase=Phase.TRAINING, step=self.step, at=time.time(), **facts))

    def _take_reports(self) -> None:
        """What the script has written through ``trainyard.run``, into our own files: it may not write there."""
        while self._take_lines() and self._is_over:
            pass  # what is still there is the rest
        reports = self._run_dir.reports
        try:
            told = read_model(reports / "progress.json", ProgressFile, root=reports)
        except (OSError, ValidationError):  # something else was put in its place
            return
        if told is not None and told != self._told:
            self._told = told
            self._write_progress(told)

    def _take_lines(self) -> bool:
        """Whether there were any to take over."""
        reports = self._run_dir.reports
        try:
            lines, end = read_complete_lines(reports / "metrics.jsonl", self._told_offset, root=reports)
        except OSError:
            return False
        self._told_offset, has_some = end, end > self._told_offset
        if lines:
            self._append([line for line in lines if len(line) <= MAX_LINE_BYTES])
        return has_some

    def _write_progress(self, progress: ProgressFile) -> None:
        write_atomically(self._run_dir.progress, progress, durable=False)

    def last_step(self) -> int:
        """The highest that the script or its metrics have told."""
        return max(self.step, self._told.step if self._told else 0)

    def last_values(self) -> dict[str, float]:
        """The newest of every metric: those found here, over those in the last lines that the script has written itself."""
        values: dict[str, float] = {}
        for line in last_lines(self._run_dir.root, self._run_dir.metrics).splitlines():
            try:
                values |= {name: value for name, value in MetricLine.model_validate_json(line).values.items() if math.isfinite(value)}
            except ValidationError:
                continue  # cut, or with a gap
        return values | {name: value for name, value in self._last.items() if math.isfinite(value)}

    def _from_event_files(self) -> list[Scalars]:
        for root in (self._dirs.tensorboard, self._dirs.output_data, self._dirs.code):
            # os.walk passes over folders that vanish meanwhile.
            found = sorted(Path(folder, name) for folder, _, files in os.walk(root) for name in files if fnmatchcase(name, NAMES))
            for path in found[:MAX_EVENT_FILES]:
                self._files.setdefault(str(path), EventFile(self._dirs.root, path))
        return [scalars for file in self._files.values() for scalars in file.read() if scalars.step >= 0]

    def _append(self, lines: Sequence[bytes]) -> None:
        with self._run_dir.metrics.open("ab", buffering=0) as file:
            file.write(b"".join(line + b"\n" for line in lines))
