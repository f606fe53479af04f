"""A rank without torch that does as it is told: ``rank.py FOLDER ACTION``. It leaves ``ready-RANK`` with its pid when it is up."""

import os
import signal
import sys
from pathlib import Path

from trainer.lifeline import die_with_parent

FOLDER, ACTION, RANK = Path(sys.argv[1]), sys.argv[2], int(os.environ["RANK"])


def tell(name: str, text: str) -> None:
    """Visible only when it is complete."""
    temporary = FOLDER / f".{name}-{RANK}"
    temporary.write_text(text)
    temporary.rename(FOLDER / f"{name}-{RANK}")


def wait_for_ever() -> None:
    while True:
        signal.pause()


def leave_when_asked() -> None:
    """Ready from the moment when it says so: a handler would miss a signal that comes just before the wait begins."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    tell("ready", str(os.getpid()))
    signal.sigwait({signal.SIGTERM})
    tell("asked", "")
    os._exit(143)


def become_daemon() -> None:
    """Forks twice, opens a session of its own, and closes everything that it got, the devices' locks included."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            tell("daemon", str(os.getpid()))
            wait_for_ever()
        os._exit(0)


if ACTION != "orphan":
    die_with_parent()
if ACTION == "print":
    print(f"this is rank {RANK}", flush=True)
    tell("env", "\n".join(f"{name}={value}" for name, value in os.environ.items()))
elif ACTION == "stay":
    print("up \N{CHECK MARK}")  # not flushed: it must be in the log all the same
    leave_when_asked()
elif ACTION in ("ignore", "orphan"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tell("ready", str(os.getpid()))
    wait_for_ever()
elif ACTION in ("daemon", "daemon and stay"):
    if RANK == 0:
        become_daemon()
    if ACTION == "daemon and stay":
        leave_when_asked()
elif RANK == 1:
    tell("ready", str(os.getpid()))
    if ACTION == "raise":
        raise ValueError("no such luck")
    if ACTION == "exit":
        os._exit(17)
    os.kill(os.getpid(), signal.Signals[ACTION])
else:
    tell("ready", str(os.getpid()))
    wait_for_ever()
