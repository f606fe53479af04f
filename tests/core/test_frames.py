"""Frames over real pipes: they come whole or not at all."""

import os
import time
from collections.abc import Iterator

import pytest

from core.frames import MAX_BLOB_BYTES, MAX_HEADER_BYTES, BadFrame, Frame, has_more, read_frame, write_frame


class Pipe:
    def __init__(self) -> None:
        self.source, self.sink = os.pipe()
        self._open = {self.source, self.sink}

    def close(self, fd: int) -> None:
        if fd in self._open:
            self._open.remove(fd)
            os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    found = Pipe()
    yield found
    found.close(found.source)
    found.close(found.sink)


def test_frames_come_as_they_were_sent_and_then_the_end(pipe: Pipe) -> None:
    sent = [Frame({"id": 1, "text": "\u00e9\u2028"}, [b"", b"\x00\xff" * 9]), Frame({})]
    for frame in sent:
        write_frame(pipe.sink, frame)
    assert has_more(pipe.source)
    assert [read_frame(pipe.source), read_frame(pipe.source)] == sent
    assert not has_more(pipe.source)
    pipe.close(pipe.sink)
    assert read_frame(pipe.source) is None


def framed(header: bytes) -> bytes:
    return len(header).to_bytes(4, "big") + header


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x00", "ended 2 bytes before"),
        (b"\x00\x00\x00\x09{", "ended 8 bytes before"),
        ((MAX_HEADER_BYTES + 1).to_bytes(4, "big"), "at most"),
        (framed(b"{\xff}"), "no JSON"),
        (framed(b"[]"), "no object"),
        (framed(b'{"blobs":[1]}'), "ended 1 bytes before"),
        (framed(b'{"blobs":[-1]}'), "lengths"),
        (framed(b'{"blobs":[true]}'), "lengths"),
        (framed(b'{"blobs":[%d]}' % (MAX_BLOB_BYTES * 10)), "lengths"),
    ],
)
def test_what_is_no_frame_is_refused_before_anything_is_kept(pipe: Pipe, content: bytes, message: str) -> None:
    os.write(pipe.sink, content)
    pipe.close(pipe.sink)
    with pytest.raises(BadFrame, match=message):
        read_frame(pipe.source)


def test_a_reader_and_a_writer_wait_no_longer_than_they_may(pipe: Pipe) -> None:
    with pytest.raises(TimeoutError):
        read_frame(pipe.source, deadline=time.monotonic() + 0.05)
    os.set_blocking(pipe.sink, False)
    with pytest.raises(TimeoutError):
        write_frame(pipe.sink, Frame({}, [bytes(1 << 20)]), deadline=time.monotonic() + 0.05)


def test_nobody_reads_any_more(pipe: Pipe) -> None:
    pipe.close(pipe.source)
    with pytest.raises(BrokenPipeError):
        write_frame(pipe.sink, Frame({}))
