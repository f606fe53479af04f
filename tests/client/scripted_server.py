"""A real HTTP server that answers as a test tells it to, faults included: cut bodies, wrong digests, errors, silence.

What the real server does is tested on the real server; this one does what that one never should.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """``cut_after`` closes the connection after so many bytes of the body; ``length`` announces another length than the body's."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


Answer = Reply | Callable[[Asked], Reply]


class ScriptedServer:
    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[tuple[str, str], list[Answer]] = defaultdict(list)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """One answer after another; the last one again and again."""
        self._answers[method, path] += answers

    def requests(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def serve(self) -> None:
        self._http.serve_forever(poll_interval=0.01)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        script = self._answers.get((asked.method, asked.path))
        if not script:
            return problem(404, "not_found", f"nothing at {asked.path}")
        answer = script.pop(0) if len(script) > 1 else script[0]
        return answer(asked) if callable(answer) else answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, unquote(parts.path), parse_qs(parts.query), headers, body)
                reply = server.answer(asked)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers and reply.status not in (204, 304):
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: reply.cut_after])
                self.close_connection = reply.cut_after is not None

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def json_reply(text: str | bytes, status: int = 200, **headers: str) -> Reply:
    body = text.encode() if isinstance(text, str) else text
    return Reply(status, body, {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}})


def problem(status: int, code: str, message: str, *, errors: str = "[]", **headers: str) -> Reply:
    body = (
        f'{{"type": "urn:trainyard:problem:{code}", "title": "t", "status": {status}, "detail": "{message}", "instance": "req_1",'
        f' "error": {{"message": "{message}", "type": "t", "param": null, "code": "{code}"}}, "errors": {errors}}}'
    )
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, body.encode(), {"Content-Type": "application/problem+json", **shown})
