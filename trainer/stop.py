"""Being asked to stop: the signal only raises a flag, and the ranks act on it together at a step boundary."""

import os
import signal
from types import FrameType
from typing import NoReturn


class StopFlag:
    """``asked`` turns true when SIGTERM arrives and stays so."""

    def __init__(self) -> None:
        self.asked = False

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True


def listen_for_stop() -> StopFlag:
    """Installs the SIGTERM handler of this process. Main thread only, and only ``main`` calls it."""
    flag = StopFlag()
    signal.signal(signal.SIGTERM, flag._raise)
    return flag


def ignore_stop() -> None:
    """From now on SIGTERM does nothing: for drills of a rank that must be killed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def die_of_sigterm() -> NoReturn:
    """Ends this process as if it had never handled the signal."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("SIGTERM did not end this process")
