"""Starts processes: an attempt's tree and its supervisor (warm from the launch pad, else cold), the pad itself, and short tools.

The only module of the worker that imports subprocess.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from worker.keeper import START
from worker.launch_plan import LaunchPlan
from worker.pad_door import PadUnavailable, Request, ask
from worker.tree import Tree

log = logging.getLogger(__name__)

PAD_SECONDS = 2.0
KEEPER_SECONDS = 5.0
SUPERVISOR = "worker.supervisor"

_slow_keepers: "list[subprocess.Popen[bytes]]" = []


class Launcher:
    """``pad_socket`` is None on a node that launches cold."""

    def __init__(self, pad_socket: Path | None, *, pad_seconds: float = PAD_SECONDS) -> None:
        self._pad_socket = pad_socket
        self._pad_seconds = pad_seconds
        self._supervisors: list[subprocess.Popen[bytes]] = []

    def start(self, plan: LaunchPlan, lock_fd: int) -> Tree:
        """Starts the attempt's tree under a keeper. ``lock_fd`` becomes the tree's standard input; the caller keeps its own copy."""
        channel, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with far_end:
            try:
                self._ask_pad(Request("keeper", plan.to_json()), (far_end.fileno(), lock_fd))
            except PadUnavailable as error:
                _note_cold_start("keeper", error)
            else:
                channel.send(START)
                return Tree(plan.attempt_id, channel, launched="warm", collect=lambda: None)
        # A keeper that the pad forks too late finds the first channel closed, and leaves.
        channel.close()
        return _start_cold(plan, lock_fd)

    def start_supervisor(self, claim_json: bytes, lock_fd: int) -> int:
        """The pid of a supervisor that reads ``claim_json`` from a pipe; the claim, with its token, goes nowhere else.

        Blocks until the supervisor has taken the claim. Raises BrokenPipeError when it ended before that.
        """
        self._supervisors = [child for child in self._supervisors if child.poll() is None]
        for_supervisor, ours = os.pipe()
        with open(ours, "wb") as claim, open(for_supervisor, "rb", buffering=0) as source:
            try:
                pid = self._ask_pad(Request("supervisor"), (source.fileno(), lock_fd))
            except PadUnavailable as error:
                _note_cold_start("supervisor", error)
            else:
                source.close()
                claim.write(claim_json)
                return pid
        return self._start_supervisor_cold(claim_json, lock_fd)

    def _ask_pad(self, request: Request, descriptors: Sequence[int]) -> int:
        if self._pad_socket is None:
            raise PadUnavailable("this node has none")
        # First without the devices: while a pad hangs, what was sent to it stays open, and so stay the locks.
        ask(self._pad_socket, Request("ping"), timeout=self._pad_seconds)
        return ask(self._pad_socket, request, descriptors, timeout=self._pad_seconds)

    def _start_supervisor_cold(self, claim_json: bytes, lock_fd: int) -> int:
        # Another pipe than the one that was offered to the pad: a fork that comes too late must read nothing.
        for_supervisor, ours = os.pipe()
        with open(ours, "wb") as claim, open(for_supervisor, "rb", buffering=0) as source:
            child = subprocess.Popen(  # noqa: S603 - our own module, by the interpreter that runs us
                [sys.executable, "-m", SUPERVISOR, str(source.fileno()), str(lock_fd)],
                stdin=subprocess.DEVNULL,
                pass_fds=(source.fileno(), lock_fd),
                start_new_session=True,
            )
            source.close()
            self._supervisors.append(child)
            claim.write(claim_json)
        return child.pid


def _note_cold_start(what: str, error: PadUnavailable) -> None:
    log.info("launching cold", extra={"event": "launch.cold", "what": what, "why": str(error)})


def _start_cold(plan: LaunchPlan, lock_fd: int) -> Tree:
    channel, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far_end, plan.log.open("ab") as output:
        keeper = subprocess.Popen(  # noqa: S603 - our own module, by the interpreter that runs us
            [sys.executable, "-m", "worker.keeper", str(far_end.fileno())],
            stdin=lock_fd,
            stdout=output,
            stderr=output,
            env=plan.env,
            pass_fds=(far_end.fileno(),),
            start_new_session=True,
        )
    channel.send(plan.to_json().encode())
    channel.send(START)
    return Tree(plan.attempt_id, channel, launched="cold", collect=lambda: _collect(keeper))


def _collect(keeper: "subprocess.Popen[bytes]") -> None:
    """Waits for a keeper whose channel is closed; it leaves when its tree is gone, at once unless the kernel cannot kill a process."""
    try:
        keeper.wait(KEEPER_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("a keeper is still killing", extra={"event": "keeper.slow", "pid": keeper.pid})
        _slow_keepers.append(keeper)  # dropped, it would be reported as forgotten


class Piped:
    """A Python process of ours that is spoken to over its standard input and output; what else it prints goes to ``errors``."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], *, errors: Path) -> None:
        with errors.open("wb") as file:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, by the interpreter that runs us
                [sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=dict(environ)
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self._pipes = (self._process.stdin, self._process.stdout)
        self.source, self.sink = self._process.stdout.fileno(), self._process.stdin.fileno()
        os.set_blocking(self.sink, False)  # so that who writes can stop waiting

    def end(self) -> int:
        """Kills it where it still runs, and collects it; the exit code, or minus the signal."""
        self._process.kill()
        code = self._process.wait()
        for pipe in self._pipes:
            with suppress(BrokenPipeError):
                pipe.close()
        return code

    def exit_code(self, timeout: float) -> int | None:
        """Waited for ``timeout`` seconds; None while it runs."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


def run_tool(
    argv: Sequence[str], timeout: float, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None, umask: int = -1
) -> "subprocess.CompletedProcess[str]":
    """Runs a short program to its end and keeps what it printed. TimeoutError after ``timeout`` seconds; it is killed then.

    ``environ`` is its whole environment and ``umask`` the mask of what it creates; without them it has ours.
    """
    try:
        return _run(argv, timeout, cwd, environ, umask)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{argv[0]} did not end within {timeout:g} s") from error


def _run(
    argv: Sequence[str], timeout: float, cwd: Path | None, environ: Mapping[str, str] | None, umask: int
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - callers name programs of ours or of this environment
        list(argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        cwd=cwd,
        env=environ,
        umask=umask,
        check=False,
    )


def spawn(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The pid of a Python process of ours in a session of its own; what it prints goes to our standard error.

    The caller collects it with ``waitpid``: no Popen that would want to do the same.
    """
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *argv],
        environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)],
        setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGCHLD],
        setsid=True,
    )
