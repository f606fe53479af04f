"""What rank 0 tells while it trains: metric points, progress, and lines of its log. Telling never blocks a step and never fails one."""

import math
import os
import sys
import threading
import time
from pathlib import Path

from core.run_dir import MetricLine, ProgressFile, RunDir, write_atomically
from core.states import Phase

PROGRESS_EVERY_SECONDS = 0.2


class Losses:
    """Counts writes that the disk refused; the first of them is said aloud."""

    def __init__(self) -> None:
        self.num = 0

    def note(self, path: Path, error: OSError) -> None:
        self.num += 1
        if self.num == 1:
            print(f"cannot write {path.name}: {error}; training goes on without", file=sys.stderr, flush=True)


class MetricsLog:
    """``metrics.jsonl``: one write call per line, so that a reader sees each as soon as it is known (about 10 us each).

    What a full disk did not take of a line is kept and goes first next time: the file has whole lines only, or a torn
    last one, which readers leave alone.
    """

    def __init__(self, path: Path, *, next_seq: int = 0) -> None:
        self.path = path
        self.next_seq = next_seq
        self.losses = Losses()
        self._rest = b""
        self._descriptor: int | None = None

    def add(self, step: int, values: dict[str, float]) -> None:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}  # JSON has no NaN
        line = MetricLine(seq=self.next_seq, step=step, at=time.time(), values=finite)
        self.next_seq += 1
        try:
            if self._rest:
                self._rest = self._write(self._rest)
            if not self._rest:
                self._rest = self._write(line.model_dump_json().encode() + b"\n")
        except OSError as error:
            self.losses.note(self.path, error)

    def _write(self, data: bytes) -> bytes:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return data[os.write(self._descriptor, data) :]


class ProgressNote:
    """``progress.json``: replaced at the first step, at every change of phase or checkpoint, and a few times a second."""

    def __init__(self, run_dir: RunDir) -> None:
        self.path = run_dir.progress
        self.note = ProgressFile(phase=Phase.PREPARING, at=0.0)
        self.losses = Losses()
        self._written_at = 0.0
        self._lock = threading.Lock()  # a checkpoint that was written beside training is told from there

    def update(self, **changes: object) -> None:
        """``changes`` are fields of ProgressFile. What is only a next step may wait; the rest is written at once. Any thread may call."""
        with self._lock:
            before = self.note
            self.note = before.model_copy(update={**changes, "at": time.time()})
            only_a_step = (before.phase, before.checkpoint_step) == (self.note.phase, self.note.checkpoint_step) and before.step > 0
            if not only_a_step or time.monotonic() - self._written_at >= PROGRESS_EVERY_SECONDS:
                self._write()

    def _write(self) -> None:
        self._written_at = time.monotonic()
        try:
            write_atomically(self.path, self.note, durable=False)
        except OSError as error:
            self.losses.note(self.path, error)


class PhaseClock:
    """How long each phase has taken in this attempt; evaluations in the middle of training are added up."""

    def __init__(self) -> None:
        self._seconds: dict[Phase, float] = {}
        self._phase, self._since = Phase.PREPARING, time.monotonic()

    def enter(self, phase: Phase) -> None:
        now = time.monotonic()
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def read(self) -> dict[str, float]:
        """As metrics: ``training_seconds`` and so on, up to now."""
        self.enter(self._phase)
        return {f"{phase.value}_seconds": seconds for phase, seconds in self._seconds.items()}


class Reporter:
    """All of it on rank 0, silence on the others."""

    def __init__(self, run_dir: RunDir, *, speaks: bool) -> None:
        self.log = MetricsLog(run_dir.metrics)
        self.phases = PhaseClock()
        self._progress = ProgressNote(run_dir)
        self._speaks = speaks

    def points(self, step: int, values: dict[str, float]) -> None:
        if self._speaks:
            self.log.add(step, values)

    def progress(self, **changes: object) -> None:
        if isinstance(phase := changes.get("phase"), Phase):
            self.phases.enter(phase)
        if self._speaks:
            self._progress.update(**changes)

    def line(self, text: str) -> None:
        """One line of the log, for people: the numbers themselves are points."""
        if self._speaks:
            try:
                print(text, flush=True)
            except OSError as error:
                self.log.losses.note(Path("the log"), error)

    def scores(self, what: str, scores: dict[str, float]) -> None:
        """The same for scores by name."""
        self.line(f"{what}: " + ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items()))
