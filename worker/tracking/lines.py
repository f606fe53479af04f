"""Files that only grow, a whole line at a time, and are read again after any kill."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

READ_BYTES = 1 << 20


class GrowingFile:
    """Appends a line, or several, by one write call. Not for several threads at once.

    A line that was written survives a kill of the process (not a power cut). What a full disk, or ``max_bytes``, does not
    take is lost and counted, and the first loss is said aloud: telling never fails the one who tells.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self.num_lost = 0
        self._max_bytes = max_bytes
        self._rest = b""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self._size = self._cut_torn_end()

    def add(self, line: bytes) -> None:
        """``line`` comes without its newline; several have one between them."""
        if self._size + len(line) + 1 > self._max_bytes:
            self._lose(f"it holds {self._max_bytes} bytes, the most it may")
            return
        try:
            if self._rest:
                self._rest = self._write(self._rest)
            if self._rest:
                self._lose("the disk takes no more")
            else:
                self._rest = self._write(line + b"\n")
        except OSError as error:
            self._lose(str(error))

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, data: bytes) -> bytes:
        num = os.write(self._descriptor, data)
        self._size += num
        return data[num:]

    def _cut_torn_end(self) -> int:
        """The size, after the half line is cut off that a killed writer may have left."""
        end = os.fstat(self._descriptor).st_size
        start = end
        while start > 0:
            start = max(0, end - READ_BYTES)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                start += found + 1
                break
            end = start
        if start != os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, start)
        return start

    def _lose(self, why: str) -> None:
        self.num_lost += 1
        if self.num_lost == 1:
            print(f"cannot write {self.path.name}: {why}; tracking goes on without", file=sys.stderr, flush=True)


def read_lines(path: Path) -> Iterator[bytes]:
    """Whole lines of the file as it is now; none when there is no file. A torn last line is left out."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.endswith(b"\n"):
                yield line
