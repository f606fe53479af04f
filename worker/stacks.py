"""Where the ranks of a hung attempt stand: their Python stacks, taken from outside."""

import sys
from collections.abc import Iterable
from pathlib import Path

from worker.launcher import run_tool

DUMP_SECONDS = 10.0


def dump_stacks(pids: Iterable[int]) -> dict[int, str]:
    """Each process's stacks as text, or why there are none. Takes at most ``DUMP_SECONDS`` per process and disturbs none."""
    return {pid: _stacks_of(pid) for pid in pids}


def _stacks_of(pid: int) -> str:
    # Without --nonblocking py-spy stops the process, and one that is killed meanwhile leaves it stopped.
    argv = [str(Path(sys.executable).with_name("py-spy")), "dump", "--nonblocking", "--pid", str(pid)]
    try:
        done = run_tool(argv, DUMP_SECONDS)
    except OSError as error:
        return f"no stacks: {error}"
    return done.stdout if done.returncode == 0 else f"no stacks: {done.stderr.strip()}"
