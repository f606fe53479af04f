"""The body of a request as chunks of bytes: by Content-Length, or chunked (which is how ``requests`` sends an empty file)."""

import time
from collections.abc import Iterator
from email.message import Message
from io import BufferedReader

from worker.tracking.answers import BadRequest, ClientGone, TooLarge

CHUNK = 256 << 10
DRAIN_SECONDS = 10.0
MAX_CHUNK_LINE = 1_024


class Body:
    """Read once; ClientGone when it does not come whole.

    ``size`` is None when the client does not say; ``is_read`` tells whether the connection is at its next request.
    """

    def __init__(self, headers: Message, source: BufferedReader) -> None:
        self._source = source
        encoding, length = headers.get_all("Transfer-Encoding") or [], headers.get_all("Content-Length") or []
        if len(encoding) + len(length) > 1 or any(value.strip().lower() != "chunked" for value in encoding):
            raise BadRequest("the length of the body is not clear")
        if length and not (length[0].isascii() and length[0].isdigit() and len(length[0]) <= 18):
            raise BadRequest("Content-Length is not a number")
        self.size = None if encoding else int(length[0]) if length else 0
        self.is_read = self.size == 0
        self._chunks = self._read_chunked() if encoding else self._read_sized()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def whole(self, most: int) -> bytes:
        """All of it; TooLarge when it is more than ``most`` bytes."""
        if self.size is not None and self.size > most:
            raise TooLarge(f"the body has {self.size} bytes, more than {most}")
        found = bytearray()
        for chunk in self._chunks:
            found += chunk
            if len(found) > most:
                raise TooLarge(f"the body has more than {most} bytes")
        return bytes(found)

    def drain(self) -> None:
        """Reads on for a while: a client that still sends would not see the answer, and try again for minutes."""
        deadline = time.monotonic() + DRAIN_SECONDS
        try:
            for _ in self._chunks:
                if time.monotonic() > deadline:
                    return
        except (BadRequest, ClientGone):
            return

    def _read_sized(self) -> Iterator[bytes]:
        left = self.size or 0
        while left:
            chunk = self._some(min(left, CHUNK))
            left -= len(chunk)
            yield chunk
        self.is_read = True

    def _read_chunked(self) -> Iterator[bytes]:
        while left := self._chunk_size():
            while left:
                chunk = self._some(min(left, CHUNK))
                left -= len(chunk)
                yield chunk
            if self._line() not in (b"\r\n", b"\n"):
                raise BadRequest("a chunk does not end where it says")
        if self._line() not in (b"\r\n", b"\n"):
            raise BadRequest("trailers are not taken")
        self.is_read = True

    def _chunk_size(self) -> int:
        digits = self._line().partition(b";")[0].strip()
        if not 0 < len(digits) <= 12 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
            raise BadRequest("the size of a chunk is not a number")
        return int(digits, 16)

    def _some(self, num: int) -> bytes:
        try:
            chunk = self._source.read1(num)
        except OSError as error:
            raise ClientGone(str(error)) from error
        if not chunk:
            raise ClientGone("the body ends too early")
        return chunk

    def _line(self) -> bytes:
        try:
            return self._source.readline(MAX_CHUNK_LINE)
        except OSError as error:
            raise ClientGone(str(error)) from error
