"""What this node can put around a stranger's program. Tried out, not guessed: ``python -m worker.confinement.offer USER FOLDER PATH...``.

A process of its own tries, because no step behind a wall can be taken back.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from worker.confinement import landlock, mounts
from worker.processes import fork

Level = Literal["limits", "confined", "strict"]
NO_USER = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """``user`` is the first of those that programs may run as, ``landlock`` the version of the kernel's interface."""

    user: int | None = None
    landlock: int = 0
    lacks: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """strict: another user, and nothing open but what is listed. confined: one of the two. limits: neither."""
        return "strict" if self.user and self.landlock else "confined" if self.user or self.landlock else "limits"

    @property
    def walls(self) -> tuple[str, ...]:
        """For an operator to read."""
        signals = "" if self.landlock >= landlock.FENCES_SIGNALS else ", without signals"
        found = ("limits", f"user from {self.user}" if self.user else "", f"landlock {self.landlock}{signals}" if self.landlock else "")
        return tuple(part for part in found if part)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Offer":
        values = json.loads(text)
        return cls(**{**values, "lacks": tuple(values["lacks"])})


def examine(user: int, folder: Path, needed: Sequence[Path]) -> Offer:
    """``user``: the first to try, 0 for none; ``needed``: what programs have to read as such a user. Forks: call it without threads."""
    lacks = []
    with tempfile.TemporaryDirectory(dir=folder, prefix="probe-") as place:
        canary = Path(place, "canary")
        canary.write_text("not for strangers")
        abi = landlock.version()
        if not abi:
            lacks.append("the kernel has no Landlock")
        elif why := _said_by(lambda: _fenced(canary)):
            lacks.append(f"Landlock does not hold: {why}")
            abi = 0
        other: int | None = None
        if user != NO_USER:
            why = "only root may start programs as another user" if os.geteuid() else _said_by(lambda: _as_user(user, canary, needed))
            if why:
                lacks.append(f"scripts run as the worker's own user: {why}")
            else:
                other = user
        if other is None and os.geteuid() == 0:
            lacks.append("processes are not limited: the kernel counts none of root's")
    return Offer(user=other, landlock=abi, lacks=tuple(lacks))


def _fenced(canary: Path) -> str:
    landlock.restrict(readable=("/usr",), writable=())
    return "a file that was not listed could be read" if _reads(canary) else ""


def _as_user(user: int, canary: Path, needed: Sequence[Path]) -> str:
    mounts.open_up(map(str, needed))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    closed = [path for path in needed if not os.access(path, os.X_OK if path.is_dir() else os.R_OK)]
    if closed:
        return f"another user cannot reach {closed[0]}"
    return "another user could read a file of ours" if _reads(canary) else ""


def _reads(path: Path) -> bool:
    try:
        path.read_text()
    except PermissionError:
        return False
    return True


def _said_by(trial: Callable[[], str]) -> str:
    """What ``trial`` answers in a fork of this process."""
    ours, theirs = os.pipe()

    def tell() -> int:
        try:
            said = trial()
        except OSError as error:
            said = str(error) or type(error).__name__
        os.write(theirs, said.encode()[:4096])
        return 0

    pid = fork(tell)
    os.close(theirs)
    with open(ours, "rb") as answer:
        said = answer.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return said or (f"the trial ended with {code}" if code else "")


if __name__ == "__main__":
    print(examine(int(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]]).to_json())
