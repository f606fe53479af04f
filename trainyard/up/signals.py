"""SIGINT, SIGTERM and SIGCHLD as something to wait for, so that nothing here polls or sleeps."""

import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Installs its handlers while it is entered; main thread only."""

    def __init__(self) -> None:
        self.num_stops = 0
        self._reader, self._writer = socket.socketpair()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in STOPPING:
            self._before[number] = signal.signal(number, self._count)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _nothing)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def wait(self, seconds: float) -> None:
        """Returns after any signal, or after ``seconds``."""
        ready, _, _ = select.select([self._reader], [], [], max(seconds, 0))
        if ready:
            self._reader.recv(4096)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.num_stops += 1


def _nothing(number: int, frame: FrameType | None) -> None:
    """SIGCHLD needs a handler to reach the wake-up descriptor."""
