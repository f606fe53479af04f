"""One child process that dies with its parent and keeps its output in a file."""

import ctypes
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class DidNotStart(RuntimeError):
    """A process of the bed ended or stayed silent instead of becoming ready; carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a process runs as; PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)


def unprivileged_account() -> Account | None:
    """Whom root hands a server to; None for an ordinary user, who runs it himself."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def free_port() -> int:
    """A TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A command with its environment and log; start, stop, kill and start it again.

    ``environment`` is the whole environment of the child, not an addition to ours. Start it from the main thread:
    the kernel sends the parent-death signal when the starting *thread* ends.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        cwd: Path | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.argv = list(argv)
        self.log = log
        self.environment = dict(environment)
        self.cwd = cwd
        self.account = account
        self.stop_signal = stop_signal
        self.orphan_signal = orphan_signal
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self.argv[0]} was not started")
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by this signal."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        if self.is_running:
            raise RuntimeError(f"{self.argv[0]} is running already as {self.pid}")
        account = self.account
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.cwd,
                preexec_fn=_dies_with(os.getpid(), self.orphan_signal),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self, timeout: float = 20) -> int | None:
        """Asks it to end, kills it when it has not after ``timeout`` seconds, and answers its exit code."""
        if self._child is None or self._child.poll() is not None:
            return self.exit_code
        self._child.send_signal(self.stop_signal)
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill9()
            return self.exit_code

    def kill9(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait(10)

    def wait(self, timeout: float) -> int:
        """Its exit code; subprocess.TimeoutExpired when it is still running after ``timeout`` seconds."""
        assert self._child is not None, "not started"
        return self._child.wait(timeout)

    def log_tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _dies_with(parent: int, number: signal.Signals) -> Callable[[], None]:
    """What the child does before it becomes the command: ask to be killed with its parent, and check that it lives."""

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(113)

    return prepare
