"""A zip of artifacts: stored entries, each followed by its CRC-32 and sizes, and zip64 records where the numbers need them.

The format is PKWARE's APPNOTE.TXT 6.3; ``zipfile`` writes it, into a stream that cannot go back.
"""

import zipfile
from collections.abc import Generator

from api.transfer.archive import Archive

# Bytes of the fixed parts (APPNOTE 4.3): local header, data descriptor, central header, end records.
_LOCAL, _LOCAL_ZIP64, _DESCRIPTOR, _DESCRIPTOR_ZIP64, _CENTRAL = 30, 20, 16, 24, 46
_END, _END_ZIP64 = 22, 56 + 20


class ZipArchive(Archive):
    suffix = "zip"
    media_type = "application/zip"

    @property
    def size(self) -> int:
        offset = central = 0
        for name, item in self._members:
            length = len(name.encode())
            is_large = _is_large(item.size)
            num_extra = 2 * is_large + _is_large(offset)
            central += _CENTRAL + length + (4 + 8 * num_extra if num_extra else 0)
            offset += _LOCAL + length + _LOCAL_ZIP64 * is_large + item.size + (_DESCRIPTOR_ZIP64 if is_large else _DESCRIPTOR)
        needs_zip64 = len(self._members) > zipfile.ZIP_FILECOUNT_LIMIT or _is_large(offset) or _is_large(central)
        return offset + central + _END + _END_ZIP64 * needs_zip64

    def _generate(self) -> Generator[bytes, None, None]:
        written = _Written()
        with zipfile.ZipFile(written, "w") as archive:
            for name, item in self._members:
                entry = zipfile.ZipInfo(name)  # an ordinary file from 1980, where the format's time begins
                entry.external_attr = 0o100644 << 16
                with archive.open(entry, "w", force_zip64=_is_large(item.size)) as member:
                    for chunk in self._bytes_of(item):
                        member.write(chunk)
                        yield written.take()
        yield written.take()


def _is_large(number: int) -> bool:
    return number > zipfile.ZIP64_LIMIT


class _Written:
    """Takes what ``zipfile`` writes, until it is sent. Without ``tell`` and ``seek``, so nothing is ever corrected afterwards."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def close(self) -> None:
        """Nor to let go."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
