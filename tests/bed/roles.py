"""Which part of a node a process plays: read off command lines, parents, the attempt's mark and who listens at the pad's door."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tests.bed.census import Seen

Role = Literal["node", "celery", "pad", "supervisor", "keeper", "agent", "rank", "tool"]
# The marker that the worker writes into the environment of keeper, agent and ranks (worker/processes.py).
MARK = re.compile(r"TRAINYARD_ATTEMPT=(att_[0-9a-z]+)")
LISTENS = 0x10000
PAD = "worker.launch_pad"


def attempt_of(person: Seen) -> str | None:
    """The id of the attempt that the process is marked with."""
    found = MARK.search(person.traces)
    return found.group(1) if found else None


def role_of(person: Seen, people: dict[int, Seen]) -> Role | None:
    """None for a process that is no part of any node."""
    if attempt_of(person):
        return _role_in_tree(person, people)
    tests: tuple[tuple[Role, Callable[[], bool]], ...] = (
        ("supervisor", lambda: "worker.supervisor" in person.command),
        ("celery", lambda: "celery" in person.command),
        ("pad", lambda: PAD in person.command and _listens_at_a_door(person)),
        ("supervisor", lambda: PAD in person.command),  # an unmarked fork of the pad
        ("node", lambda: bool(re.search(r"-m worker\s*$", person.command))),
    )
    return next((role for role, holds in tests if holds()), None)


def _role_in_tree(person: Seen, people: dict[int, Seen]) -> Role:
    """Keeper, agent and ranks are three marked generations; whoever a rank starts is a tool."""
    generation = 0
    parent = people.get(person.parent)
    while parent and attempt_of(parent) and generation < 3:
        generation += 1
        parent = people.get(parent.parent)
    roles: tuple[Role, ...] = ("keeper", "agent", "rank", "tool")
    return "tool" if "resource_tracker" in person.command else roles[generation]


def _listens_at_a_door(person: Seen) -> bool:
    """Whether one of its open files is a listening unix socket: the pad's forks close that one."""
    listening = {inode for flags, inode in _unix_sockets() if flags & LISTENS}
    return any(f"socket:[{inode}]" in person.traces for inode in listening)


def _unix_sockets() -> list[tuple[int, str]]:
    """Flags and inode of every unix socket of the machine."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [(int(row[3], 16), row[6]) for row in rows]
