"""Opens files that others may have put there, in a folder where they may also have put links and pipes.

Whoever writes to a folder can replace any part of a path below it by a link, at any moment. A reader with more rights than the
writer would then read whatever the link names, and hand it on as the writer's own.
"""

import errno
import io
import os
import stat
from pathlib import Path


def open_inside(root: Path, path: Path) -> io.BufferedReader:
    """The regular file at ``path``, which lies below ``root`` by name, for reading. The folder that holds ``root`` is trusted.

    FileNotFoundError when it is absent; OSError (ELOOP) when a link leads to it, ``root`` itself being one included; OSError (EINVAL)
    for what is no regular file. Nothing is waited for.
    """
    expected = Path(os.path.realpath(root.parent), root.name, path.relative_to(root))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        # The kernel tells where what was opened lies: a look at the path before or after could be outrun.
        found = os.readlink(f"/proc/self/fd/{descriptor}")
        if found.removesuffix(" (deleted)") != str(expected):
            raise OSError(errno.ELOOP, "a link leads elsewhere", str(path))
    except OSError:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")
