"""Who runs on this machine for one stack, read from /proc: the parts of a node and of every attempt, by role.

Roles are read off command lines and parents, as an operator with ``ps`` would. A run's ranks, agent and keeper are found
by the job's run directory, which their open files point into.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Seen:
    """One live process, as /proc showed it at one moment."""

    pid: int
    parent: int
    name: str

    @cached_property
    def command(self) -> str:
        return _text(self.pid, "cmdline")

    @cached_property
    def traces(self) -> str:
        """Command line, environment, working directory and open files in one text, as far as we may read them."""
        folder = PROC / str(self.pid)
        links = [folder / "cwd", *_listing(folder / "fd")]
        return "\n".join([self.command, _text(self.pid, "environ"), *map(_target, links)])


def everyone() -> list[Seen]:
    """Every process that is not a zombie."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # it ended while we looked
        head, _, tail = stat.rpartition(") ")
        state, parent = tail.split()[:2]
        if state != "Z":
            found.append(Seen(int(folder.name), int(parent), head.partition("(")[2]))
    return found


def family(root: int, people: list[Seen]) -> list[Seen]:
    """``root``'s descendants, nearest first."""
    line = {root}
    found: list[Seen] = []
    while True:
        more = [person for person in people if person.parent in line and person.pid not in line]
        if not more:
            return found
        found += more
        line |= {person.pid for person in more}


def touching(text: str, people: list[Seen] | None = None) -> list[Seen]:
    """Processes whose command line, environment, working directory or open files mention ``text``."""
    return [person for person in (everyone() if people is None else people) if text in person.traces and person.pid != os.getpid()]


def _text(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
