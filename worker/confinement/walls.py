"""What a confined process may use, as a value, and the step behind these walls. Standard library only: the keeper takes it."""

import os
import resource
from dataclasses import dataclass

from worker.confinement import landlock, mounts

# The kernel, short of memory, takes the stranger's program before it takes a supervisor.
OOM_SCORE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """``user`` is None where nobody can become another; ``is_fenced`` says whether Landlock closes what is not listed."""

    user: int | None = None
    is_fenced: bool = False
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    listable: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()  # what is shown to that user although folders above are closed to it
    max_processes: int  # and threads
    max_file_bytes: int
    max_open_files: int = 65_536


def step_behind(walls: Walls) -> None:
    """Confines this process, which must have one thread, and all that it starts; there is no way back. OSError when refused.

    Becoming another user takes back ``PR_SET_PDEATHSIG``: ask for it afterwards.
    """
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(OOM_SCORE))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, walls.max_open_files)
    _limit(resource.RLIMIT_FSIZE, walls.max_file_bytes)
    # Counted for each user: among our own processes there is room for so many more.
    num_ours = 0 if walls.user is not None else num_tasks(os.getuid())
    _limit(resource.RLIMIT_NPROC, walls.max_processes + num_ours)
    if walls.user is not None:
        mounts.open_up(walls.opened)
        os.setgroups([])
        os.setresgid(walls.user, walls.user, walls.user)
        os.setresuid(walls.user, walls.user, walls.user)
    if walls.is_fenced:
        landlock.restrict(readable=walls.readable, writable=walls.writable, listable=walls.listable)


def _limit(kind: int, wanted: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


def num_tasks(user: int) -> int:
    """How many threads of how many processes ever run as ``user`` now."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/status") as file:
                    facts = dict(line.split(":\t", 1) for line in file if line.startswith(("Uid:", "Threads:")))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(facts["Uid"].split()[0]) == user:
                count += int(facts["Threads"])
    return count
