"""A server with one thread per connection, and a bound on how many there are."""

import contextlib
import socket
import threading
from collections import OrderedDict
from http.server import ThreadingHTTPServer
from typing import Any

MAX_CONNECTIONS = 128


class BoundedServer(ThreadingHTTPServer):
    """At the bound, the connection that has waited longest for a request is closed; when all are busy, the new one is.

    A client that finds its kept connection closed opens another, and one whose connection is refused tries again.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256
    max_connections = MAX_CONNECTIONS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, socket.socket] = OrderedDict()
        self._open: set[int] = set()
        super().__init__(*arguments, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._admit(request):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def _admit(self, request: socket.socket) -> bool:
        with self._lock:
            if len(self._open) >= self.max_connections:
                if not self._idle:
                    return False
                number, oldest = self._idle.popitem(last=False)
                self._open.discard(number)  # its thread is about to end
                _hang_up(oldest)
            self._open.add(id(request))
            self._idle[id(request)] = request
            return True

    def idle(self, connection: socket.socket) -> None:
        """Its next request has not begun."""
        with self._lock:
            if id(connection) in self._open:
                self._idle[id(connection)] = connection

    def busy(self, connection: socket.socket) -> None:
        with self._lock:
            self._idle.pop(id(connection), None)

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._idle.pop(id(request), None)
            self._open.discard(id(request))
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours; anything else was answered and logged by the handler."""


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have hung up itself
        connection.shutdown(socket.SHUT_RDWR)
