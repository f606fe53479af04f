"""Users that scripts run as: numbers without a name, one at a time for each script of the machine. For a worker that is root.

Everything that such a user owned is taken back afterwards, so that the next script under the same number finds nothing of it.
"""

import contextlib
import os
import pwd
import shutil
import socket
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from worker.confinement.walls import num_tasks

NUM_USERS = 256
SHARED_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


class NoFreeUser(Exception):
    """As many scripts run on this machine as there are users for them."""


class Account:
    """``close`` lets the next one have the number. The kernel does, when this process is killed."""

    def __init__(self, number: int, claim: socket.socket) -> None:
        self.number = number
        self._claim = claim

    @classmethod
    def take(cls, first: int) -> "Account":
        """The first number from ``first`` on that neither a script of this machine has nor anybody else.

        All that runs under it will be killed: what runs already, in a container perhaps, makes it another's.
        """
        for number in range(first, first + NUM_USERS):
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0trainyard-user-{number}")  # an abstract name: it is free again when its process is gone
            except OSError:
                claim.close()
                continue
            if not _is_known(number) and num_tasks(number) == 0:
                return cls(number, claim)
            claim.close()
        raise NoFreeUser(f"all users from {first} to {first + NUM_USERS - 1} run something, or are somebody")

    def give(self, paths: Iterable[Path]) -> None:
        """Makes these files, and folders with all that is in them, the user's own. Links are given, not followed."""
        for path in paths:
            for entry in _all_below(path):
                os.chown(entry, self.number, self.number, follow_symlinks=False)

    def forget(self, folders: Iterable[Path]) -> None:
        """Closes ``folders`` to the user, and removes what it left where everybody may write."""
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                if folder.lstat().st_uid == self.number:
                    os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
        for path in left_by(self.number):
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if stat.S_ISDIR(path.lstat().st_mode) else path.unlink()

    def close(self) -> None:
        self._claim.close()


def _is_known(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True


def left_by(user: int) -> list[Path]:
    """What lies in the folders where everybody may write and is this user's."""
    found = []
    for path in (path for folder in SHARED_FOLDERS if folder.is_dir() for path in folder.iterdir()):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == user:
                found.append(path)
    return found


def open_to_all(path: Path) -> None:
    """Lets every user read a file, or a folder with all that is in it; links are left alone. Who may get there is another question."""
    for entry in _all_below(path):
        mode = entry.lstat().st_mode
        wanted = stat.S_IMODE(mode) | (0o555 if stat.S_ISDIR(mode) or mode & 0o100 else 0o444)
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != wanted:
            entry.chmod(wanted)


def let_through(*folders: Path) -> None:
    """Lets every user pass through folders of ours, without a list of what is in them."""
    for folder in folders:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o111)


def _all_below(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for folder, names, files in os.walk(path):
            yield from (Path(folder, name) for name in (*names, *files))
