"""A view of the file system of one's own, in which other users can get to what they may use. For root; standard library only.

A Python below ``/root`` cannot be reached by anybody else, however open it is itself. In a private mount namespace (namespaces(7),
mount(2)) the closed folder is covered by an empty one that holds these paths alone. Nobody outside sees any of it.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18


def open_up(paths: Iterable[str]) -> None:
    """Lets every user get to ``paths`` from this process and what it starts, but into those that are closed themselves.

    OSError when the kernel refuses.
    """
    covered: dict[Path, list[Path]] = {}
    for path in sorted({Path(os.path.realpath(path)) for path in paths if os.path.exists(path)}):
        if not _is_closed(path) and (closed := closed_above(path)):
            covered.setdefault(closed, []).append(path)
    if not covered:
        return
    _check(_LIBC.unshare(_CLONE_NEWNS), "unshare")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    before = os.umask(0o066)  # folders on the way are made as 711
    for closed, kept in covered.items():
        _cover(closed, kept)
    os.umask(before)


def closed_above(path: Path) -> Path | None:
    """The outermost folder on the way to ``path`` that others cannot pass; None when there is none."""
    return next((folder for folder in reversed(path.parents) if _is_closed(folder)), None)


def _is_closed(path: Path) -> bool:
    mode = path.stat().st_mode
    return not mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH)


def _cover(closed: Path, kept: list[Path]) -> None:
    held = [
        (path, os.open(path, os.O_PATH | os.O_CLOEXEC))
        for path in kept
        if not any(path.is_relative_to(other) for other in kept if other != path)
    ]
    _mount("tmpfs", str(closed), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0711,size=1m")
    for path, place in held:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(place).st_mode):
            path.mkdir(mode=0o711)
        else:
            path.touch()
        _mount(f"/proc/self/fd/{place}", str(path), None, _MS_BIND | _MS_REC)
        os.close(place)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    arguments = (
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(_LIBC.mount(*arguments), f"mount on {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what} was refused: {os.strerror(code)}")
