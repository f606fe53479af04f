"""The central directory of a zip archive: bounded before it is read, one record at a time (APPNOTE 6.3.10, 4.3.12 to 4.3.16, 4.5.3)."""

import struct
from typing import BinaryIO, NamedTuple

from core.errors import BadArchive

RECORD = struct.Struct("<4s4B4HL2L5H2L")
END = struct.Struct("<4s4H2LH")
END64_LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
ZIP64_EXTRA = 1
SMALL_MAX, LARGE_MAX = 0xFFFF, 0xFFFFFFFF


class Record(NamedTuple):
    """What the directory says of one entry; ``attributes`` hold Unix's mode in their upper half."""

    name: bytes
    system: int
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    attributes: int
    offset: int


class End(NamedTuple):
    """Where the directory lies, and how much it claims."""

    num_entries: int
    num_bytes: int
    start: int


def directory(file: BinaryIO, size: int, *, max_entries: int, max_bytes: int) -> tuple[list[Record], int]:
    """Every record, and where the directory starts; BadArchive when it is too large or not what its end says."""
    end = _end(file, size)
    if end.num_entries > max_entries or end.num_bytes > max_bytes:
        raise BadArchive(f"the archive has more than {max_entries} files and folders")
    if end.start + end.num_bytes > size:
        raise BadArchive("the archive's directory reaches beyond its end")
    file.seek(end.start)
    records: list[Record] = []
    while len(records) < end.num_entries:
        records.append(_record(file))
        if file.tell() > end.start + end.num_bytes:
            raise BadArchive("the archive's directory is larger than it says")
    if file.tell() != end.start + end.num_bytes:
        raise BadArchive("the archive's directory holds other entries than it says")
    return records, end.start


def _end(file: BinaryIO, size: int) -> End:
    tail_start = max(0, size - END.size - SMALL_MAX)
    file.seek(tail_start)
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + END.size > len(tail):
        raise BadArchive("the archive ends too early: it has no directory")
    _, disk, first_disk, here, total, num_bytes, start, comment = END.unpack_from(tail, found)
    if found + END.size + comment != len(tail):
        raise BadArchive("bytes follow the end of the archive")
    if SMALL_MAX in (disk, here, total) or LARGE_MAX in (num_bytes, start):
        return _end64(file, tail_start + found)
    if disk or first_disk or here != total:
        raise BadArchive("an archive in several parts is not taken")
    return End(total, num_bytes, start)


def _end64(file: BinaryIO, end_start: int) -> End:
    file.seek(max(0, end_start - END64_LOCATOR.size))
    locator = file.read(END64_LOCATOR.size)
    if len(locator) < END64_LOCATOR.size or locator[:4] != b"PK\x06\x07":
        raise BadArchive("the archive's end is damaged")
    file.seek(END64_LOCATOR.unpack(locator)[2])
    content = file.read(END64.size)
    if len(content) < END64.size or content[:4] != b"PK\x06\x06":
        raise BadArchive("the archive's end is damaged")
    *_, disk, first_disk, here, total, num_bytes, start = END64.unpack(content)
    if disk or first_disk or here != total:
        raise BadArchive("an archive in several parts is not taken")
    return End(total, num_bytes, start)


def _record(file: BinaryIO) -> Record:
    header = file.read(RECORD.size)
    if len(header) < RECORD.size or header[:4] != b"PK\x01\x02":
        raise BadArchive("the archive's directory is damaged")
    (_, _, system, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, _, _, attributes, offset) = RECORD.unpack(header)
    name_bytes, extra_bytes = file.read(name), file.read(extra)
    file.seek(comment, 1)
    size, packed, offset = _large(extra_bytes, size, packed, offset)
    return Record(name_bytes, system, flags, method, crc, packed, size, attributes, offset)


def _large(extra: bytes, *values: int) -> list[int]:
    """The values, those that say "too large for this field" replaced by the 64-bit ones of the extra field, in order."""
    if LARGE_MAX not in values:
        return list(values)
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == ZIP64_EXTRA and position + 4 + length <= len(extra):
            content = extra[position + 4 : position + 4 + length]
            large = iter(struct.unpack(f"<{length // 8}Q", content[: length // 8 * 8]))
            return [next(large, value) if value == LARGE_MAX else value for value in values]
        position += 4 + length
    return list(values)
