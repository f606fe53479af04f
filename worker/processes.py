"""What Linux tells about processes, and what a process may ask of it for itself. Standard library only: the keeper stays small.

Facts come from ``/proc``; a process that ends while it is looked at counts as absent.
"""

import ctypes
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress

MARKER = "TRAINYARD_ATTEMPT"
MARKER_WIDTH = 64

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_ENV_START_FIELD = 49  # of /proc/self/stat, counted from 0


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Has the kernel send us ``number`` when the thread of ``parent`` that forked us ends; leaves at once when it is gone already."""
    _prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:
        os._exit(113)


def adopt_orphans() -> None:
    """Makes every orphan below us our child (subreaper), double-forked daemons included, so that none can leave our sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """Keeps other processes of the same user from reading our memory and environment: for those that hold a token."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) was refused")


def fork(work: Callable[[], int]) -> int:
    """The pid of a child that does ``work`` and ends with the exit code that it answers, or 1 when it raises."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = work()
    except BaseException:  # why: whatever it is, it may not travel up into the parent's code, which the child has a copy of
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def reset_signals() -> None:
    """Default handling of every signal, none blocked, no wake-up descriptor: as a freshly started program has it."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        # The C library keeps a few real-time signals for itself and refuses them, with EINVAL.
        if number < signal.SIGRTMIN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # Python's own default: a broken pipe is an exception
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_all_but(kept: Iterable[int]) -> None:
    """Closes every open descriptor but the standard three and ``kept``."""
    wanted = {0, 1, 2, *kept}
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd not in wanted:
            try:
                os.close(fd)
            except OSError:
                continue  # the descriptor of the listing itself


def num_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def parents() -> dict[int, int]:
    """The parent of every process of the machine."""
    found = {}
    for pid in _pids():
        stat = _read(pid, "stat")
        if stat:
            # The command's name may contain anything, brackets included: count from its last one.
            found[pid] = int(stat[stat.rindex(b")") + 2 :].split()[1])
    return found


def descendants(ancestor: int) -> list[int]:
    """Every process below ``ancestor``, parents before their children; zombies count."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found = list(children.get(ancestor, ()))
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def marked(attempt_id: str) -> list[int]:
    """Every live process that carries the attempt's mark in its environment; zombies have none any more."""
    line = f"{MARKER}={attempt_id}".encode()
    return [pid for pid in _pids() if line in _read(pid, "environ").split(b"\0")]


def mark(attempt_id: str) -> None:
    """Writes the attempt's mark into the environment that ``/proc`` shows of us, and so of everything that is forked from us.

    A fork keeps the block of memory that its ancestor was executed with, whatever ``os.environ`` says later. The launch pad
    is therefore started with a marker of ``MARKER_WIDTH`` placeholder characters. ValueError when there is none.
    """
    start = int(_read(os.getpid(), "stat").rsplit(b")", 1)[1].split()[_ENV_START_FIELD - 2])
    entry = f"{MARKER}=".encode()
    offset = _read(os.getpid(), "environ").find(entry + placeholder().encode())
    if offset < 0:
        raise ValueError(f"this process was started without a placeholder in {MARKER}")
    value = attempt_id.encode().ljust(MARKER_WIDTH, b"\0")
    if len(value) != MARKER_WIDTH:
        raise ValueError(f"an attempt's id has at most {MARKER_WIDTH} bytes, not {len(value)}")
    ctypes.memmove(start + offset + len(entry), value, MARKER_WIDTH)


def placeholder() -> str:
    """What the marker of a process holds that will mark its forks."""
    return "-" * MARKER_WIDTH


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each; one that is gone, or another user's, is passed over."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def kill_all_of(user: int) -> None:
    """SIGKILL to whatever runs as ``user``, at one blow: also what forks faster than anybody could look. For root, with one thread."""

    def blow() -> int:
        os.setresuid(user, user, user)
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return 0

    os.waitpid(fork(blow), 0)


def kill_marked(attempt_id: str, timeout: float) -> bool:
    """Kills what carries the attempt's mark, whoever its parent is, and says whether none is left after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while pids := marked(attempt_id):
        kill(pids)
        if not _wait_for_end(pids, deadline):
            return False
    return True


def _wait_for_end(pids: Iterable[int], deadline: float) -> bool:
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
        finally:
            os.close(handle)
    return True


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
