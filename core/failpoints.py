"""Named places where a drill can make this process die, fail or wait. They do nothing unless one was armed at the start.

``finish.before_commit:kill`` kills the process as ``kill -9`` does; ``:raise`` raises FailpointReached; ``:pause=2.5``
waits that many seconds. A process has one armed place at most: one drill, one fault.
"""

import os
import signal
import time
from collections.abc import Callable

PLACES = frozenset(
    f"{verb}.{moment}"
    for verb in ("submit", "claim", "renew", "checkpoint", "finish", "reap")
    for moment in ("before_commit", "after_commit")
)


class FailpointReached(Exception):
    """A drill asked this place to fail."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_armed: tuple[str, Callable[[], None]] | None = None


def arm(setting: str | None) -> None:
    """Arms the place that ``NAME:ACTION`` names, or none; ValueError says what is wrong with the text."""
    global _armed
    _armed = None if setting is None else _parsed(setting)


def hit(name: str) -> None:
    """Called at each place, by its name; KeyError for a name that no drill could arm."""
    if name not in PLACES:
        raise KeyError(name)
    if _armed is not None and _armed[0] == name:
        _armed[1]()


def _parsed(setting: str) -> tuple[str, Callable[[], None]]:
    name, _, action = setting.partition(":")
    if name not in PLACES:
        raise ValueError(f"there is no failpoint {name!r}; there are {', '.join(sorted(PLACES))}")
    return name, _action(name, action)


def _action(name: str, action: str) -> Callable[[], None]:
    def fail() -> None:
        raise FailpointReached(name)

    word, _, seconds = action.partition("=")
    if word == "pause":
        duration = float(seconds)
        return lambda: time.sleep(duration)
    if action not in ("kill", "raise"):
        raise ValueError(f"a failpoint does kill, raise or pause=SECONDS, not {action!r}")
    return _kill if action == "kill" else fail
