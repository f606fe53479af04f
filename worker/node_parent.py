"""The parent of a node's processes: starts them, starts them again, drains the node when told to stop. PID 1 of a container.

It also adopts and collects what their deaths leave behind, and holds no connection to anything.
"""

import fcntl
import logging
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from core.settings import WorkerSettings
from worker.devices import DeviceInventory, busy
from worker.launcher import spawn
from worker.node_dir import NodeDir
from worker.processes import adopt_orphans, hide_memory

log = logging.getLogger("trainyard.worker.parent")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0
STEADY_SECONDS = 30.0  # who lived for so long starts again without a pause
LOOK_SECONDS = 0.1
IDLE_SECONDS = 5.0
UPLOAD_SECONDS = 120.0
TELL_SECONDS = 5.0
STOP_SECONDS = 35.0


class AlreadyRunning(Exception):
    """Another node uses this work directory."""


@dataclass(slots=True)
class Child:
    """A process that has to run; ``pid`` is None while it does not."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    pid: int | None = None
    started_at: float = 0.0
    not_before: float = 0.0
    num_deaths: int = 0

    def start(self, now: float) -> None:
        self.pid = spawn(self.argv, self.environ)
        self.started_at = now
        log.info("started", extra={"event": "node.part_started", "part": self.name, "child": self.pid})

    def died(self, status: int, now: float) -> None:
        self.num_deaths = 1 if now - self.started_at > STEADY_SECONDS else self.num_deaths + 1
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (self.num_deaths - 1), LONGEST_PAUSE_SECONDS)
        self.pid, self.not_before = None, now + pause
        code = os.waitstatus_to_exitcode(status)
        log.warning("ended", extra={"event": "node.part_ended", "part": self.name, "code": code, "again_in": pause})

    def send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)


class NodeParent:
    """``environ`` is the operator's environment: the Celery worker gets all of it, the launch pad none of our variables."""

    def __init__(self, settings: WorkerSettings, *, environ: Mapping[str, str], drains: bool) -> None:
        self._dir = NodeDir.create(settings.work_dir)
        self._num_devices = len(DeviceInventory.discover(settings.accelerator, settings.cpu_slots).devices)
        self._drains = drains
        self._drain_seconds = settings.stop_grace_seconds + UPLOAD_SECONDS
        plain = {name: value for name, value in environ.items() if not name.startswith("TRAINYARD_")}
        self._celery = Child("celery", ["-m", "worker", "celery"], environ)
        self._children = [self._celery]
        if settings.launch == "warm":
            self._children.append(Child("pad", ["-m", "worker.launch_pad", str(self._dir.pad_socket)], plain))
        if settings.predictors:
            self._children.append(Child("predictions", ["-m", "worker.predictions"], environ))
        self._num_terms = 0
        self._awake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._waker = waker

    def run(self) -> int:
        """Until told to stop by SIGTERM or SIGINT; the exit code."""
        with self._dir.node_lock.open("wb") as lock:
            _lock(lock.fileno())
            hide_memory()
            adopt_orphans()
            self._dir.leaving.unlink(missing_ok=True)
            self._listen()
            while self._num_terms == 0:
                self._look_after_children()
                self._sleep(self._until_next_start())
            is_empty = self._drain() if self._drains else True
            self._end_children()
        return 0 if is_empty else 1

    def _listen(self) -> None:
        def note_stop(*_: object) -> None:
            self._num_terms += 1

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, note_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def _sleep(self, seconds: float) -> None:
        """Until a signal comes, so many seconds at most."""
        if select.select([self._awake], [], [], seconds)[0]:
            os.read(self._awake, 4096)

    def _look_after_children(self) -> None:
        self._collect()
        now = time.monotonic()
        for child in self._children:
            if child.pid is None and now >= child.not_before:
                child.start(now)

    def _until_next_start(self) -> float:
        waits = [child.not_before - time.monotonic() for child in self._children if child.pid is None]
        return max(0.0, min(waits, default=IDLE_SECONDS))

    def _collect(self) -> None:
        """Collects whoever has ended: our own processes, and orphans that became ours."""
        mine = {child.pid: child for child in self._children}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in mine:
                mine[pid].died(status, time.monotonic())

    def _drain(self) -> bool:
        """Gives running jobs back; whether nothing runs here any more. A second signal ends the waiting."""
        log.info("draining before the end; once more to leave at once", extra={"event": "node.draining"})
        self._dir.leaving.touch()
        self._celery.send(signal.SIGUSR2)
        began = time.monotonic()
        while time.monotonic() - began < self._drain_seconds and self._num_terms == 1:
            self._look_after_children()
            if not self._has_told() and time.monotonic() - began > TELL_SECONDS:
                self._tell_supervisors()
            if self._has_told() and self._is_idle():
                return True
            self._sleep(LOOK_SECONDS)
        log.warning("jobs still run here", extra={"event": "node.not_drained", "jobs": sorted(self._dir.running_jobs())})
        return False

    def _has_told(self) -> bool:
        return self._dir.leaving.read_text() != ""

    def _tell_supervisors(self) -> None:
        """The API is away: supervisors are asked directly, and give their attempts back once they can."""
        self._dir.leaving.write_text("the supervisors know")
        for pid in self._dir.supervisors():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _is_idle(self) -> bool:
        return not busy(self._dir.device_locks, self._num_devices) and not self._dir.running_jobs()

    def _end_children(self) -> None:
        for child in self._children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + (STOP_SECONDS if self._num_terms < 2 else 0.0)
        while any(child.pid for child in self._children) and time.monotonic() < deadline and self._num_terms < 2:
            self._sleep(LOOK_SECONDS)
            self._collect()
        for child in self._children:
            child.send(signal.SIGKILL)
        self._dir.leaving.unlink(missing_ok=True)


def _lock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning("another node runs in this work directory (TRAINYARD_WORK_DIR)") from None
