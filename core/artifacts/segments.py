"""The form of an encrypted object: a header with its own key, then segments that open one by one.

::

    header   8 bytes of magic, and the file's key sealed under the key of the object's digest
    segment  1 MiB of plain bytes, the last one as many as are left: nonce (12), ciphertext, tag (16)

Each segment is AES-256-GCM (NIST SP 800-38D) with a random nonce, because an upload that goes on after a crash may write
other bytes in a segment's place. Bound to it are its number and whether it is the last one, as in the STREAM construction
(Hoang, Reyhanitabar, Rogaway, Vizar: "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015):
a segment that was moved, cut off or put behind the last one does not open. The file's key is random and of this file alone,
so no segment of another file opens either.
"""

from core.access.vault import KEY_BYTES, NONCE_BYTES, TAG_BYTES, CannotOpen, Sealer, new_key

SEGMENT = 1 << 20  # plain bytes
OVERHEAD = NONCE_BYTES + TAG_BYTES
FRAME = SEGMENT + OVERHEAD  # stored bytes of a whole segment
MAGIC = b"TYSEAL1\n"
HEADER = len(MAGIC) + KEY_BYTES + OVERHEAD


class FileCipher:
    """Seals and opens the segments of one file."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._sealer = Sealer(key)

    @classmethod
    def fresh(cls) -> "FileCipher":
        return cls(new_key())

    @classmethod
    def of(cls, header: bytes, blob_key: bytes, sha256: str) -> "FileCipher":
        """That of a stored file. CannotOpen for a header of another object, under another key, or damaged."""
        if len(header) != HEADER or not header.startswith(MAGIC):
            raise CannotOpen
        return cls(Sealer(blob_key).open(header[len(MAGIC) :], _place(sha256)))

    def header(self, blob_key: bytes, sha256: str) -> bytes:
        return MAGIC + Sealer(blob_key).seal(self._key, _place(sha256))

    def seal(self, data: bytes | memoryview, number: int, *, is_last: bool) -> bytes:
        return self._sealer.seal(data, _segment(number, is_last))

    def open(self, frame: bytes | memoryview, number: int, *, is_last: bool) -> bytes:
        """CannotOpen unless it is exactly this segment of this file."""
        return self._sealer.open(frame, _segment(number, is_last))

    def seal_tail(self, data: bytes, number: int) -> bytes:
        """The beginning of a segment that is not full yet; it opens as no segment."""
        return self._sealer.seal(data, b"tail" + number.to_bytes(8))

    def open_tail(self, sealed: bytes, number: int) -> bytes:
        return self._sealer.open(sealed, b"tail" + number.to_bytes(8))


def stored_offset(number: int) -> int:
    """Where a segment begins in the stored file."""
    return HEADER + number * FRAME


def _place(sha256: str) -> bytes:
    return f"file {sha256}".encode()


def _segment(number: int, is_last: bool) -> bytes:
    return number.to_bytes(8) + bytes([is_last])
