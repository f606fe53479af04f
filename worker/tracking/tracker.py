"""The state behind the routes: memory, an append to a file for every change, and the ``.json`` files written behind."""

import hashlib
import json
import logging
import re
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from core.run_dir import ProgressFile, write_atomically
from worker.tracking.answers import Absent, TooLarge
from worker.tracking.clock import now_ms
from worker.tracking.folder import ParamsFile, RunsFile, TagsFile, TrackedRun, TrackingFolder
from worker.tracking.lines import GrowingFile, read_lines
from worker.tracking.points import MAX_STEP, Point, Points
from worker.tracking.progress import Progress
from worker.tracking.runs import LoggedModel, Run, Runs

log = logging.getLogger("trainyard.tracking")

MAX_JOURNAL_BYTES = 256 << 20
MAX_RUNS = 1_000
MAX_SERIES = 10_000
MAX_TEXTS = 20_000
MAX_TEXT_BYTES = 32 << 20
MAX_SERIES_NAME = 128  # what a reader of the run directory's metrics takes
WRITE_EVERY_SECONDS = 0.2
_PLAIN = re.compile(r"[^0-9A-Za-z_.\-]+")


@dataclass(frozen=True, slots=True)
class Metric:
    """A point as the script told it."""

    key: str
    value: float
    at_ms: int
    step: int


class Tracker:
    """Any thread may call. ``run_id`` is the job's own run, which is there from the beginning."""

    def __init__(self, folder: TrackingFolder, *, run_id: str, experiment: str) -> None:
        self.folder = folder
        self.run_id = run_id
        self.runs = Runs()
        self.lock = threading.RLock()
        self.points = Points(folder)
        self.progress = Progress(folder.progress)
        self.exact: set[str] = set()  # metrics of the job's run that come with their own step
        self._journal = GrowingFile(folder.journal, max_bytes=MAX_JOURNAL_BYTES)
        self._said: set[str] = set()
        self._num_recorded, self._num_written = 0, -1
        self._written_note: ProgressFile | None = None
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._load()
        if run_id not in self.runs.by_id:
            self._record(op="experiment", name=experiment)
            self._record(op="run", run_id=run_id, name=run_id, prefix="", parent_run_id=None, started_ms=now_ms(), user="")
        self._writer = threading.Thread(target=self._write_behind, name="files", daemon=True)
        self._writer.start()
        self._changed.set()

    def close(self) -> None:
        """Writes what waits to be written."""
        self._closing.set()
        self._changed.set()
        self._writer.join()
        self._journal.close()
        self.points.close()

    def run(self, run_id: str) -> Run:
        try:
            return self.runs.by_id[run_id]
        except KeyError:
            raise Absent(f"Run '{run_id[:100]}' not found") from None

    def name_experiment(self, name: str) -> None:
        with self.lock:
            if name != self.runs.experiment:
                self._record(op="experiment", name=name)

    def create_run(self, name: str, user: str, started_ms: int, tags: Mapping[str, str]) -> Run:
        """A run beside or below the job's own; its metrics, parameters and tags are told under a prefix made of its name."""
        with self.lock:
            if len(self.runs.by_id) >= MAX_RUNS:
                raise TooLarge(f"a job tracks at most {MAX_RUNS} runs")
            run_id = uuid.uuid4().hex
            name = name or f"run-{len(self.runs.by_id)}"
            self._record(
                op="run",
                run_id=run_id,
                name=name,
                prefix=self._free_prefix(name),
                parent_run_id=tags.get("mlflow.parentRunId"),
                started_ms=started_ms,
                user=user,
            )
            self._set_texts(self.run(run_id), {}, tags)
            return self.run(run_id)

    def update_run(self, run_id: str, *, status: str | None, ended_ms: int | None, name: str | None) -> Run:
        """Notes what the script says of its run: FINISHED ends neither the job nor the run."""
        with self.lock:
            run = self.run(run_id)
            self._record(op="status", run_id=run_id, status=status or run.status, ended_ms=ended_ms or run.ended_ms, name=name or run.name)
            return run

    def log(self, run_id: str, metrics: Sequence[Metric] = (), params: Mapping[str, str] = {}, tags: Mapping[str, str] = {}) -> None:
        with self.lock:
            run = self.run(run_id)
            self._set_texts(run, params, tags)
            points = [point for metric in metrics if (point := self._point_of(run, metric))]
            self.points.add(points)
            if points and run.run_id == self.run_id:
                self.progress.reached(max(point.step for point in points))
            self._changed.set()

    def delete_tag(self, run_id: str, key: str) -> None:
        with self.lock:
            if key not in self.run(run_id).tags:
                raise Absent(f"No tag with name: {key}")
            self._record(op="untag", run_id=run_id, key=key)

    def keep_model(self, model: LoggedModel) -> None:
        """As it is now: a new one, or one of those that are known."""
        with self.lock:
            self._record(op="model", model=asdict(model))

    def note_progress(self, **told: Any) -> None:
        with self.lock:
            self.progress.told(**told)
            self._changed.set()

    def _set_texts(self, run: Run, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Only what differs is written; a changed parameter is taken, unlike on MLflow's own server: a resumed script tells it again."""
        for kind, known, told in (("params", run.params, params), ("tags", run.tags, tags)):
            items = {key: value for key, value in told.items() if known.get(key) != value}
            if not items:
                continue
            num_new = sum(key not in known for key in items)
            if self.runs.num_texts + num_new > MAX_TEXTS or self.runs.text_bytes > MAX_TEXT_BYTES:
                self._say_once(f"some {kind} are left out: there are too many", "tracking.too_many_texts")
                continue
            self._record(op=kind, run_id=run.run_id, items=items)

    def _point_of(self, run: Run, metric: Metric) -> Point | None:
        name = run.series.get(metric.key)
        if name is None:
            if len(self.runs.owners) >= MAX_SERIES:
                self._say_once("some metrics are left out: there are too many", "tracking.too_many_series")
                return None
            name = self._series_name(run, metric.key)
            self._record(op="series", run_id=run.run_id, key=metric.key, name=name)
        return Point(name, min(max(metric.step, 0), MAX_STEP), metric.at_ms, metric.value)

    def _series_name(self, run: Run, key: str) -> str:
        name = run.prefix + key
        if len(name) > MAX_SERIES_NAME or name in self.runs.owners:
            digest = hashlib.sha256(f"{run.run_id}\0{key}".encode()).hexdigest()[:8]
            name = f"{name[: MAX_SERIES_NAME - 9]}~{digest}"
        return name

    def _free_prefix(self, name: str) -> str:
        plain = _PLAIN.sub("-", name)[:40]
        prefix, number = f"{plain}/", 1
        while prefix in self.runs.prefixes:
            number += 1
            prefix = f"{plain}-{number}/"
        return prefix

    def _say_once(self, what: str, event: str) -> None:
        """A script must not be able to flood our log."""
        if event not in self._said:
            self._said.add(event)
            log.warning(what, extra={"event": event})

    def _record(self, **operation: Any) -> None:
        self.runs.apply(operation)
        self._journal.add(json.dumps(operation).encode())
        self._num_recorded += 1
        self._changed.set()

    def _load(self) -> None:
        for line in read_lines(self.folder.journal):
            try:
                self.runs.apply(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                log.warning("a line of the journal is unreadable", extra={"event": "tracking.unreadable", "cause": repr(error)})

    def _write_behind(self) -> None:
        while not self._closing.is_set():
            self._changed.wait()
            self._changed.clear()
            self._write_files()
            self._closing.wait(WRITE_EVERY_SECONDS)
        self._write_files()

    def _write_files(self) -> None:
        for path, content in self._files():
            try:
                write_atomically(path, content, durable=False)
            except OSError as error:
                log.warning("a file is not written", extra={"event": "tracking.unwritten", "path": path.name, "cause": repr(error)})

    def _files(self) -> list[tuple[Path, BaseModel]]:
        """What has changed since the last time."""
        with self.lock:
            files: list[tuple[Path, BaseModel]] = []
            if self.progress.note and self.progress.note is not self._written_note:
                self._written_note = self.progress.note
                files.append((self.folder.progress, self._written_note))
            if self._num_recorded != self._num_written:
                self._num_written = self._num_recorded
                files.extend(self._text_files())
            return files

    def _text_files(self) -> list[tuple[Path, BaseModel]]:
        runs = list(self.runs.by_id.values())
        params = {run.prefix + key: value for run in runs for key, value in run.params.items()}
        replaced = {run.prefix + key: tuple(values) for run in runs for key, values in run.replaced.items()}
        tags = {run.prefix + key: value for run in runs for key, value in run.tags.items()}
        return [
            (self.folder.params, ParamsFile(values=params, replaced=replaced)),
            (self.folder.tags, TagsFile(values=tags)),
            (self.folder.runs, RunsFile(runs=tuple(TrackedRun.model_validate(run, from_attributes=True) for run in runs))),
        ]
