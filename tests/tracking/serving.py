"""A tracking server of one attempt, scripts that are led to it, and requests that no client of its would send."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from core.run_dir import MetricLine
from worker.tracking.artifacts import ArtifactFolder
from worker.tracking.folder import TrackingFolder
from worker.tracking.process import TrackingProcess, environment, make_token
from worker.tracking.server import TrackingServer
from worker.tracking.tracker import Tracker

PROGRAMS = Path(__file__).with_name("programs")
RUN_ID = "job_0001"
API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
GET_RUN = f"{API}/runs/get?run_id={RUN_ID}"


class Attempt:
    """The folder, the token and the server process of one attempt below ``root``."""

    def __init__(self, root: Path, *, carry_from: Path | None = None) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.token_file = root / "token"
        self.token = make_token(self.token_file)
        self.folder = TrackingFolder(root / "tracking")
        self.process = TrackingProcess(
            self.folder.root, run_id=RUN_ID, token_file=self.token_file, experiment="digits", carry_from=carry_from
        )
        self.port = 0

    def start(self) -> None:
        self.port = self.process.start(os.environ)

    @contextmanager
    def served_here(self, *, max_artifact_bytes: int = 1 << 30) -> Iterator["Attempt"]:
        """The same server on threads of this process."""
        self.folder.root.mkdir()
        tracker = Tracker(self.folder, run_id=RUN_ID, experiment="digits")
        server = TrackingServer(tracker, ArtifactFolder(self.folder, max_bytes=max_artifact_bytes), token=self.token)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.reports.close()
            server.server_close()
            tracker.close()

    def variables(self) -> dict[str, str]:
        """Of a script whose machine has a proxy that leads nowhere."""
        nowhere = "http://127.0.0.1:9"
        plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        base = {**plain, "HTTP_PROXY": nowhere, "http_proxy": nowhere, "HTTPS_PROXY": nowhere, "NO_PROXY": "example.org"}
        return {**base, **environment(self.port, self.token_file, run_id=RUN_ID, experiment="digits", base=base)}

    def run(self, program: str, *arguments: str, cwd: Path, more: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """The script ``programs/PROGRAM.py`` to its end, whatever that is."""
        return subprocess.run(
            [sys.executable, str(PROGRAMS / f"{program}.py"), *arguments],
            env={**self.variables(), **(more or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def told_by(self, program: str, *arguments: str, cwd: Path) -> Any:
        """The JSON of the last line that the script prints; it must end well."""
        ended = self.run(program, *arguments, cwd=cwd)
        assert ended.returncode == 0, ended.stderr[-4000:]
        return json.loads(ended.stdout.strip().splitlines()[-1])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of one request with the right token; ``body`` is bytes, or told as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            content = body if isinstance(body, bytes | type(None)) else json.dumps(body)
            connection.request(method, path, content, {"Authorization": f"Bearer {self.token}", **headers})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def lives(self) -> bool:
        return bool(self.ask("GET", GET_RUN)[0] == 200)

    def log_metric(self, key: str, value: Any, step: int, at_ms: int = 1_000) -> tuple[int, Any]:
        return self.ask("POST", f"{API}/runs/log-metric", {"run_id": RUN_ID, "key": key, "value": value, "timestamp": at_ms, "step": step})

    def lines(self) -> list[MetricLine]:
        return [MetricLine.model_validate_json(line) for line in self.folder.metrics.read_bytes().splitlines()]

    def series(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of every point in ``metrics.jsonl``, in its order."""
        return [(line.step, line.values[name]) for line in self.lines() if name in line.values]

    def files(self) -> dict[str, Any]:
        """``params.json``, ``tags.json`` and ``runs.json`` of a server that was stopped."""
        return {path.stem: json.loads(path.read_text()) for path in (self.folder.params, self.folder.tags, self.folder.runs)}
