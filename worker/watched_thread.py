"""A thread whose failure does not go unnoticed: it is kept, somebody is woken, and ``check`` raises it where it matters."""

import threading
from collections.abc import Callable


class ThreadFailed(Exception):
    """A thread ended with an exception, which is the cause of this one."""


class WatchedThread:
    """Runs ``work`` once; ``failed`` is called from the thread when it raised."""

    def __init__(self, name: str, work: Callable[[], None], failed: Callable[[], None]) -> None:
        self._work = work
        self._failed = failed
        self._error: BaseException | None = None
        # A daemon: when the supervisor decides to end, no thread that waits for the network may hold it.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the end; False when it still runs. Raises ThreadFailed."""
        self._thread.join(timeout)
        self.check()
        return not self._thread.is_alive()

    def check(self) -> None:
        if self._error is not None:
            raise ThreadFailed(f"the thread {self._thread.name} failed: {self._error!r}") from self._error

    def _run(self) -> None:
        try:
            self._work()
        # why: check() raises it, in the thread that can act on it
        except BaseException as error:
            self._error = error
            self._failed()
