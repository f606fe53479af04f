"""A bell that any thread may ring and one event loop waits for, as a file descriptor."""

import os


class Wake:
    """Rings that come together are heard once."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def ring(self) -> None:
        os.eventfd_write(self._fd, 1)

    def hush(self) -> None:
        """Forgets the rings so far."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return
