"""Frames on a pipe: a JSON header and any number of byte strings. How a node's processes speak to those that hold models.

On the wire: the header's length as four bytes, most significant first; the header, a JSON object in UTF-8; the byte strings
one behind the other. The header's member ``blobs`` lists their lengths.
"""

import json
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_HEADER_BYTES = 64 << 20
MAX_BLOB_BYTES = 64 << 20  # of all byte strings of a frame
_LENGTH_BYTES = 4


class BadFrame(Exception):
    """What came is no frame, or half of one: where the next would begin cannot be known."""


@dataclass(frozen=True, slots=True)
class Frame:
    header: dict[str, Any]
    blobs: list[bytes] = field(default_factory=list)


def write_frame(fd: int, frame: Frame, *, deadline: float | None = None) -> None:
    """Writes all of it. BrokenPipeError when nobody reads any more; TimeoutError at ``deadline`` (monotonic seconds).

    A deadline is kept on descriptors that do not block.
    """
    header = json.dumps({**frame.header, "blobs": [len(blob) for blob in frame.blobs]}, ensure_ascii=False).encode()
    left = memoryview(b"".join((len(header).to_bytes(_LENGTH_BYTES, "big"), header, *frame.blobs)))
    while left:
        _wait(fd, select.POLLOUT, deadline)
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            continue


def read_frame(fd: int, *, deadline: float | None = None) -> Frame | None:
    """The next frame; None at the end of the stream. BadFrame, or TimeoutError at ``deadline`` (monotonic seconds)."""
    prefix = _read(fd, _LENGTH_BYTES, deadline, may_end=True)
    if not prefix:
        return None
    length = int.from_bytes(prefix, "big")
    if length > MAX_HEADER_BYTES:
        raise BadFrame(f"a header of {length} bytes; at most {MAX_HEADER_BYTES} are read")
    header = _parsed(_read(fd, length, deadline))
    sizes = header.pop("blobs", [])
    if not isinstance(sizes, list) or any(type(size) is not int or size < 0 for size in sizes) or sum(sizes) > MAX_BLOB_BYTES:
        raise BadFrame("the header's lengths of byte strings are none")
    return Frame(header, [_read(fd, size, deadline) for size in sizes])


def has_more(fd: int) -> bool:
    """Whether something has come already, the end of the stream included."""
    return bool(_polled(fd, select.POLLIN, 0))


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"the header is no JSON: {type(error).__name__}") from None
    if not isinstance(header, dict):
        raise BadFrame("the header is no object")
    return header


def _read(fd: int, size: int, deadline: float | None, *, may_end: bool = False) -> bytes:
    parts: list[bytes] = []
    missing = size
    while missing:
        _wait(fd, select.POLLIN, deadline)
        part = os.read(fd, min(missing, 1 << 20))
        if not part:
            if may_end and not parts:
                return b""
            raise BadFrame(f"the stream ended {missing} bytes before the frame did")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _wait(fd: int, event: int, deadline: float | None) -> None:
    if deadline is None and os.get_blocking(fd):
        return
    seconds = None if deadline is None else max(deadline - time.monotonic(), 0)
    if not _polled(fd, event, seconds):
        raise TimeoutError("the other side was too slow")


def _polled(fd: int, event: int, seconds: float | None) -> Sequence[tuple[int, int]]:
    poll = select.poll()
    poll.register(fd, event)
    return poll.poll(None if seconds is None else seconds * 1000)
