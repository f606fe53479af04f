"""HTTP on the loopback: who may speak, which function answers, and how it is told."""

import hmac
import json
import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler
from io import BufferedReader
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.tracking import kubeflow, models
from worker.tracking.answers import BadRequest, ClientGone, Forbidden, InvalidValue, Json, NoRoute, Refused, Unauthenticated
from worker.tracking.artifacts import ArtifactFolder
from worker.tracking.body import Body
from worker.tracking.connections import BoundedServer
from worker.tracking.kubeflow import StatusReports
from worker.tracking.mlflow_routes import ROUTES, MlflowRoutes
from worker.tracking.tracker import Tracker

log = logging.getLogger("trainyard.tracking")

HOST = "127.0.0.1"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
MAX_JSON_BYTES = 1 << 20
MAX_WORKING = 4  # requests whose JSON is in memory as objects, thirty times its size
SILENCE_SECONDS = 30.0
RUNS_FOLDER, MODELS_FOLDER = "runs", "models"


class TrackingServer(BoundedServer):
    """``port`` 0 lets the kernel choose. OSError when the port is taken."""

    def __init__(self, tracker: Tracker, artifacts: ArtifactFolder, *, token: str, port: int = 0) -> None:
        self.tracker = tracker
        self.artifacts = artifacts
        self.mlflow = MlflowRoutes(tracker)
        self.models = models.ModelRoutes(tracker)
        self.reports = StatusReports(tracker)
        self.working = threading.BoundedSemaphore(MAX_WORKING)
        self.authorization = f"Bearer {token}".encode()
        super().__init__((HOST, port), Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def server_bind(self) -> None:
        """Without the look-up of our own name that the standard library does here."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = HOST, self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "trainyard", ""
    timeout = SILENCE_SECONDS
    wbufsize = -1  # headers and content leave in one piece, so that no packet waits for another
    disable_nagle_algorithm = True
    server: TrackingServer
    rfile: BufferedReader

    def handle_one_request(self) -> None:
        self.server.idle(self.connection)
        try:
            begun = self.rfile.peek(1)
        except OSError:
            begun = b""
        self.server.busy(self.connection)
        if begun:
            super().handle_one_request()
        else:
            self.close_connection = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses before a route is looked for."""
        self.close_connection = True
        self._send(code, {"error_code": "BAD_REQUEST", "message": message or "the request is not readable as HTTP/1.1"})

    def _answer(self) -> None:
        body: Body | None = None
        try:
            body = Body(self.headers, self.rfile)
            self._check_caller()
            self._route(urlsplit(self.path).path, body)
        except Refused as refusal:
            self._refuse(refusal, body)
        except ClientGone:
            self.close_connection = True
        # why: the connection's thread ends here, and a fault of ours must be told to the client and in the log
        except Exception as error:
            log.exception("a tracking request failed", extra={"event": "tracking.failed", "path": self.path[:200]})
            self.close_connection = True
            self._send(500, {"error_code": "INTERNAL_ERROR", "message": type(error).__name__})

    def _check_caller(self) -> None:
        """The name is checked against pages in a browser that were led here by a name of their own."""
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            raise Forbidden("this server is asked by another name than its own")
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self.server.authorization):
            raise Unauthenticated("the token of this job's tracking server is missing or wrong")

    def _route(self, path: str, body: Body) -> None:
        if path == ARTIFACTS or path.startswith(f"{ARTIFACTS}/"):
            self._route_artifact(path.removeprefix(ARTIFACTS).removeprefix("/"), body)
        else:
            work = self._work_of(path)
            raw = b"" if self.command == "GET" else body.whole(MAX_JSON_BYTES)
            with self.server.working:
                answer = work(self._query() if self.command == "GET" else _json(raw))
            self._send(200, answer)
        body.drain()
        self.close_connection = self.close_connection or not body.is_read

    def _work_of(self, path: str) -> Callable[[Json], Json]:
        if (self.command, path) == ("POST", kubeflow.ROUTE):
            return self.server.reports.take
        if route := ROUTES.get((self.command, path)):
            return partial(route, self.server.mlflow)
        if path == models.ROUTE or path.startswith(f"{models.ROUTE}/"):
            return partial(self.server.models.route, self.command, path.removeprefix(models.ROUTE).removeprefix("/"))
        raise NoRoute(f"{self.command} {path[:200]} is not tracked here")

    def _route_artifact(self, quoted: str, body: Body) -> None:
        artifacts = self.server.artifacts
        if self.command == "GET" and not quoted:
            where = self._place(self._query().get("path", ""))
            files = [
                {"path": entry.name, "is_dir": entry.size is None, "file_size": entry.size or 0}
                for entry in artifacts.entries(where)
                if where or entry.name not in (RUNS_FOLDER, MODELS_FOLDER)
            ]
            self._send(200, {"files": files})
        elif self.command == "GET":
            self._send_file(*artifacts.open(self._place_of_file(quoted)))
        elif self.command == "PUT":
            artifacts.put(self._place_of_file(quoted), body, size=body.size)
            self._send(200, {})
        else:
            raise NoRoute(f"{self.command} is not offered for artifacts")

    def _place_of_file(self, quoted: str) -> str:
        told = _unquoted(quoted)
        if not told.partition("/")[2]:
            raise InvalidValue("the path names a run, and no file of it")
        return self._place(told)

    def _place(self, told: str) -> str:
        """Where it lies below the folder. The job's own run has the folder itself, another, or a model, one named by its id."""
        owner, _, rest = told.partition("/")
        tracker = self.server.tracker
        if owner in tracker.runs.models:
            folder = [MODELS_FOLDER, owner]
        else:
            folder = [] if tracker.run(owner).run_id == tracker.run_id else [RUNS_FOLDER, owner]
        return "/".join([*folder, *([rest] if rest else [])])

    def _query(self) -> dict[str, str]:
        try:
            return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True, errors="strict", max_num_fields=50))
        except ValueError:
            raise BadRequest("the query is not readable") from None

    def _refuse(self, refusal: Refused, body: Body | None) -> None:
        if body is not None:
            body.drain()
        self.close_connection = self.close_connection or body is None or not body.is_read
        self._send(refusal.status, {"error_code": refusal.error_code, "message": refusal.message})

    def _send(self, status: int, content: Json) -> None:
        self._send_bytes(status, "application/json", json.dumps(content).encode())

    def _send_bytes(self, status: int, kind: str, content: bytes, *, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        if self.close_connection:
            self.send_header("Connection", "close")
        try:
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _send_file(self, file: BinaryIO, size: int) -> None:
        with file:
            self._send_bytes(200, "application/octet-stream", b"", length=size)
            if size and not self.close_connection and self.connection.sendfile(file, count=size) != size:
                self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Not a line per request."""


def _json(raw: bytes) -> Json:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(told, dict):
        raise BadRequest("the body is not a JSON object")
    return told


def _unquoted(path: str) -> str:
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8") from None
