"""``python -m tests.bed.as_user UID PATH... -- COMMAND...``: the command as an ordinary user, to whom root shows these paths.

Where tests run as root, an interpreter below ``/root`` could not be started by anybody else.
"""

import os
import signal
import sys

from worker.confinement.mounts import open_up
from worker.processes import die_with_parent


def main(user: int, paths: list[str], command: list[str]) -> None:
    parent = os.getppid()
    open_up(paths)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    die_with_parent(signal.SIGKILL, parent)  # becoming another user has taken it back
    os.execv(command[0], command)


if __name__ == "__main__":
    end = sys.argv.index("--")
    main(int(sys.argv[1]), sys.argv[2:end], sys.argv[end + 1 :])
