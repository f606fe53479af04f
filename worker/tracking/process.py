"""The tracking server as its starter sees it: a process beside an attempt, and the variables that lead a script to it."""

import os
import secrets
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from core.run_dir import read_model
from worker.launcher import spawn
from worker.tracking.folder import PortFile, TrackingFolder
from worker.tracking.kubeflow import ROUTE
from worker.tracking.server import HOST

START_SECONDS = 30.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02
PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "TMPDIR")


class DidNotListen(Exception):
    """The server ended, or did not listen in time; what it printed is in the starter's standard error."""


class TrackingProcess:
    """``start`` it from a thread that lives as long as the attempt: the kernel ends the server with the thread that started it."""

    def __init__(self, folder: Path, *, run_id: str, token_file: Path, experiment: str = "Default", carry_from: Path | None = None) -> None:
        self.folder = TrackingFolder(folder)
        self._argv = ["-m", "worker.tracking", str(folder), "--token-file", str(token_file), "--run-id", run_id]
        self._argv += ["--experiment", experiment, "--parent", str(os.getpid())]
        self._argv += ["--carry-from", str(carry_from)] if carry_from else []
        self._pid: int | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        if self._pid is not None and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._pid = None
        return self._pid

    def launch(self, environ: Mapping[str, str]) -> None:
        """Starts it without waiting. Of ``environ`` only what Python needs is handed on. A server that runs already stays."""
        if self.pid is None:
            self._pid = spawn(self._argv, {name: environ[name] for name in PASSED_ON if name in environ})

    def start(self, environ: Mapping[str, str], timeout: float = START_SECONDS) -> int:
        """Launches it and waits; the port, once it listens: the same as before when it was started before. Raises DidNotListen."""
        self.launch(environ)
        deadline = time.monotonic() + timeout
        while (told := self._told()) is None or told.pid != self._pid:
            if self._ended_within(POLL_SECONDS):
                raise DidNotListen("the tracking server ended before it listened")
            if time.monotonic() > deadline:
                self.stop(0.0)
                raise DidNotListen(f"the tracking server did not listen within {timeout:g} s")
        return told.port

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Has it write what waits and end; it is killed when that takes longer than ``timeout`` seconds."""
        for number, seconds in ((signal.SIGTERM, timeout), (signal.SIGKILL, STOP_SECONDS)):
            if self.pid is not None:
                os.kill(self.pid, number)
                self._ended_within(seconds)

    def _told(self) -> PortFile | None:
        try:
            return read_model(self.folder.port, PortFile)
        except ValueError:
            return None

    def _ended_within(self, seconds: float) -> bool:
        if self._pid is None:
            return True
        handle = os.pidfd_open(self._pid)
        try:
            select.select([handle], [], [], seconds)
        finally:
            os.close(handle)
        return self.pid is None


def make_token(path: Path) -> str:
    """Writes a new token into a new file that only its owner may read. It opens one tracking server and nothing else."""
    token = secrets.token_urlsafe(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w") as file:
        file.write(token)
    return token


def environment(
    port: int, token_file: Path, *, run_id: str, experiment: str = "Default", base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables that lead the ``mlflow`` client and transformers' status hook to the server.

    ``base`` is the environment they are added to: its exceptions from a proxy are kept. Both spellings are set, because
    ``requests`` and ``urllib`` prefer the small one. A script that runs as another user must be able to read ``token_file``.
    """
    base = base or {}
    known = [part.strip() for part in (base.get("no_proxy") or base.get("NO_PROXY") or "").split(",") if part.strip()]
    direct = ",".join(dict.fromkeys([*known, HOST, "localhost"]))
    address = f"http://{HOST}:{port}"
    return {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_TRACKING_TOKEN": token_file.read_text().strip(),
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_EXPERIMENT_NAME": experiment,
        "MLFLOW_DISABLE_TELEMETRY": "true",  # it would tell the client's makers of every call
        "KUBEFLOW_TRAINER_SERVER_URL": f"{address}{ROUTE}",
        "KUBEFLOW_TRAINER_SERVER_TOKEN": str(token_file),
        "NO_PROXY": direct,
        "no_proxy": direct,
    }
