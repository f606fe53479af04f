"""A process that answers predictions of one package, spoken to over its pipes."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from core.frames import Frame, read_frame, write_frame

ANSWER_SECONDS = 60.0


class Served:
    """``python -m trainer.predict.serve`` of this folder; as a ``with`` block it is gone at the end."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "trainer.predict.serve", str(folder), "--parent", str(os.getpid()), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def started(self) -> Self:
        assert self.read()["ready"] is True
        return self

    def write(self, header: dict[str, Any], *blobs: bytes) -> None:
        assert self.process.stdin is not None
        write_frame(self.process.stdin.fileno(), Frame(header, list(blobs)))

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        frame = read_frame(self.process.stdout.fileno(), deadline=time.monotonic() + ANSWER_SECONDS)
        assert frame is not None, "the process has ended"
        return frame.header

    def ask(self, rows: list[Any], *blobs: bytes, files: tuple[int, ...] = ()) -> list[dict[str, Any]]:
        self.write({"id": "one", "rows": rows, "files": list(files)}, *blobs)
        results: list[dict[str, Any]] = self.read()["results"]
        return results

    def code(self) -> int:
        """The exit code, waited for."""
        return self.process.wait(ANSWER_SECONDS)
