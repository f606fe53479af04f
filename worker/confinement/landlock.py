"""Landlock: what a process and all that it starts may open, kill and connect to, for good. Standard library only.

https://docs.kernel.org/userspace-api/landlock.html; numbers from the kernel's ``include/uapi/linux/landlock.h``. Needs no privilege.
"""

import ctypes
import os
import struct
from collections.abc import Iterable

_LIBC = ctypes.CDLL(None, use_errno=True)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FIRST_RIGHTS = (1 << 13) - 1  # of version 1: those above, and to make and remove entries of each kind
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # of versions 2 and 3
_READ = EXECUTE | READ_FILE | READ_DIR
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE  # what a rule for a file, not a folder, may name
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1  # of version 6
FENCES_SIGNALS = 6


def version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)))


def restrict(*, readable: Iterable[str], writable: Iterable[str], listable: Iterable[str] = ()) -> None:
    """Closes everything to this thread but ``readable`` and ``writable`` files and folders with all below them.

    ``listable`` folders show names and no contents. Paths that are not there are passed over. From version 6 on, processes
    outside can neither be signalled nor reached by abstract sockets. OSError when the kernel refuses. There is no way back.
    """
    abi = version()
    handled = _FIRST_RIGHTS | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    scopes = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if abi >= FENCES_SIGNALS else 0
    attributes = struct.pack("=QQQ", handled, 0, scopes)[: 24 if scopes else 8]
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        for paths, rights in ((readable, _READ), (writable, handled), (listable, READ_DIR)):
            for path in paths:
                _allow(ruleset, path, rights & handled)
        if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) was refused")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        if rights:
            _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock refused call {number}: {os.strerror(code)}")
    return result
