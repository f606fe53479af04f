"""A process that cannot outlive its parent: the kernel kills it when the thread that forked it ends.

``trainer/main.py`` calls ``die_with_parent()`` before anything slow, importing torch included. Standard library only.
"""

import ctypes
import os
import signal

AGENT_PID = "TRAINYARD_AGENT_PID"

_PR_SET_PDEATHSIG = 1
_PR_SET_PTRACER, _PR_SET_PTRACER_ANY = 0x59616D61, ctypes.c_ulong(-1)
_ORPHANED = 113


def die_with_parent(parent: int | None = None) -> None:
    """Has the kernel send SIGKILL when the parent is gone; leaves at once when it is gone already.

    ``parent`` is the pid that must be ours; a rank leaves it out and finds its agent's in the environment. Where neither
    is known (a plain ``torchrun``), the parent of this moment counts. Raises OSError when the kernel refuses.
    Also lets other processes of this user read our stacks.
    """
    told = int(os.environ.get(AGENT_PID, 0))  # why: a rank learns from its agent's environment whose child it must be
    expected = parent or told or os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    # Some systems let only ancestors look at a process (Yama); a hung rank's stacks are read by a relative of another kind.
    # Refused where there is no such rule to relax.
    libc.prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
    # A parent that died before the call above would never be announced: its child is somebody else's by now.
    if os.getppid() != expected:
        os._exit(_ORPHANED)
