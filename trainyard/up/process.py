"""One child process: started with a parent-death signal, its output in a file, stopped by signal.

Start it from the main thread: the kernel sends the parent-death signal when the starting *thread* ends (prctl(2)).
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainyard.up.errors import ToolFailed

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
TOOL_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run: a value. The environment is the child's whole one and may hold secrets; argv never does."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    log: Path


class Process:
    def __init__(self, command: Command, pass_fd: int | None = None) -> None:
        self.command = command
        with command.log.open("ab") as log:
            # start_new_session: Ctrl-C reaches the parent alone, which then stops its children in order.
            self._child = subprocess.Popen(  # noqa: S603  # argv is made in plan.py, never from a request
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(command.environment),
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
                pass_fds=() if pass_fd is None else (pass_fd,),
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by this signal."""
        return self._child.poll()

    def send(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        self._child.send_signal(number)

    def stop(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL when it has not ended after so many seconds."""
        self.send(signal.SIGTERM)
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._child.wait()


def run_tool(command: Command) -> str:
    """What a short command prints. Raises ToolFailed; its stderr goes to the log."""
    try:
        with command.log.open("ab") as log:
            done = subprocess.run(  # noqa: S603  # as above
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(command.environment),
                check=True,
                text=True,
                timeout=TOOL_SECONDS,
            )
    except subprocess.CalledProcessError as error:
        raise ToolFailed(f"exit code {error.returncode}; the end of {command.log}:\n{log_tail(command.log)}") from None
    except subprocess.TimeoutExpired:
        raise ToolFailed(f"no end within {TOOL_SECONDS:.0f} s; the end of {command.log}:\n{log_tail(command.log)}") from None
    return done.stdout


def log_tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def adopt_orphans() -> None:
    """Makes this process the parent of descendants that lose theirs, so that none of them can be forgotten."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def bury_orphans(own: frozenset[int]) -> None:
    """Collects adopted children that have ended; those in ``own`` are left to their Process."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:
            return
        os.waitpid(ended.si_pid, os.WNOHANG)


def descendants() -> list[int]:
    """Every process below this one."""
    found: list[int] = []
    parents = [os.getpid()]
    while parents:
        children = [child for parent in parents for child in _children(parent)]
        found += children
        parents = children
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _die_with_parent(parent: int) -> Callable[[], None]:
    """What the child does before it becomes the command: SIGTERM when its parent dies, and not at all if that is so already."""

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(113)

    return prepare
