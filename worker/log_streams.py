"""What ranks print, byte by byte: finds torchrun's files and sends what is new, at the offset where the server's copy ends."""

import logging
from dataclasses import dataclass
from pathlib import Path

from core.inside import open_inside
from core.logs import concealed
from core.run_dir import RunDir
from worker.api_client import ApiRefused, AttemptApi
from worker.outcome import last_lines
from worker.patience import Patience

log = logging.getLogger("trainyard.worker.output")

MAX_CHUNK = 256 << 10
STREAMS = ("stdout", "stderr")


@dataclass(slots=True)
class LogStream:
    """One file of one rank; ``offset`` is where the next byte to send lies."""

    rank: int
    name: str
    root: Path  # below which the rank may have put links
    path: Path
    offset: int = 0
    is_full: bool = False

    def send_some(self, api: AttemptApi, patience: Patience, *, is_over: bool) -> bool:
        """Sends at most ``MAX_CHUNK`` bytes; whether there was anything to send. ``is_over``: nothing is printed any more."""
        found = b"" if self.is_full else self._read_some()
        data = masked(found, is_whole=is_over and len(found) < MAX_CHUNK)
        if not data:
            return False
        start = self.offset
        try:
            reply = patience.keep_trying(lambda: api.add_output(self.rank, self.name, start, data))
        except ApiRefused as error:
            return self._obey(error, start)
        self.offset, self.is_full = reply.next_offset, reply.is_truncated
        return bool(data)

    def _read_some(self) -> bytes:
        try:
            with open_inside(self.root, self.path) as file:
                file.seek(self.offset)
                return file.read(MAX_CHUNK)
        except OSError as error:
            log.error("output cannot be read", extra={"event": "output.lost", "rank": self.rank, "stream": self.name, "cause": str(error)})
            self.is_full = True
            return b""

    def _obey(self, error: ApiRefused, start: int) -> bool:
        """Goes on at the offset that the server names. A refusal without one ends this stream: output is not worth a run."""
        if error.expected_offset is not None and error.expected_offset != start:
            self.offset = error.expected_offset
            return True
        log.error("output was refused", extra={"event": "output.refused", "rank": self.rank, "stream": self.name, "cause": str(error)})
        self.is_full = True
        return False


def masked(data: bytes, *, is_whole: bool) -> bytes:
    """What may be sent of ``data``: every concealed value as so many ``*``, so that offsets stay offsets.

    Unless it is whole, an end that could be the beginning of such a value is left for the next time.
    """
    for secret in (value.encode() for value in concealed()):
        data = data.replace(secret, b"*" * len(secret))
    if is_whole:
        return data
    longest = max((_overhang(data, value.encode()) for value in concealed()), default=0)
    return data[: len(data) - longest]


def _overhang(data: bytes, secret: bytes) -> int:
    """How many bytes at the end of ``data`` are the beginning of ``secret``."""
    return next((length for length in range(min(len(secret) - 1, len(data)), 0, -1) if data.endswith(secret[:length])), 0)


class LogStreams:
    """All files of one attempt, below ``logs/<run>/attempt_0/<rank>/`` as torchrun lays them out."""

    def __init__(self, run_dir: RunDir, num_ranks: int) -> None:
        self._root = run_dir.logs
        self._num_ranks = num_ranks
        self._streams: dict[tuple[int, str], LogStream] = {}

    def send_some(self, api: AttemptApi, patience: Patience, *, is_over: bool = False) -> bool:
        """One chunk of every stream that has one; whether there was any."""
        self._find()
        return any([stream.send_some(api, patience, is_over=is_over) for stream in self._streams.values()])

    def tail(self, rank: int) -> str:
        """The last lines that a rank printed, of its errors or else of its output."""
        self._find()
        found = (self._streams.get((rank, name)) for name in ("stderr", "stdout"))
        return next((lines for stream in found if stream and (lines := last_lines(self._root, stream.path))), "")

    def _find(self) -> None:
        if len(self._streams) == self._num_ranks * len(STREAMS):
            return
        for path in self._root.glob("*/attempt_0/*/std*.log"):
            rank, name = path.parent.name, path.stem
            if rank.isdecimal() and name in STREAMS:
                self._streams.setdefault((int(rank), name), LogStream(int(rank), name, self._root, path))
