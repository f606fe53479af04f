"""Entries of a zip archive, by its central directory, each checked against its local header.

The format is PKWARE's APPNOTE 6.3.10 (sections 4.3 to 4.5). Python's own zipfile reads the whole directory into memory, cuts
names at a NUL, and lets entries share bytes; so that a few megabytes can claim to be petabytes (Fifield, "A better zip bomb", 2019).
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from core.archives.entries import ArchiveBytes, Entry
from core.archives.rules import MAX_NAME_BYTES, MIB, ArchiveRules, shown
from core.archives.zip_directory import Record, directory
from core.errors import BadArchive

PIECE = 256 << 10
STORED, DEFLATED = 0, 8
ENCRYPTED = 0x1 | 0x40 | 0x2000
UNIX_SYSTEMS = (3, 19)  # Unix, and macOS as some tools write it
LOCAL = struct.Struct("<4s5H3I2H")
MAX_DIRECTORY_BYTES = 64 * MIB


class Placed(NamedTuple):
    """A record and where its compressed bytes lie."""

    record: Record
    name: str
    start: int


def zip_entries(file: BinaryIO, rules: ArchiveRules) -> Iterator[Entry]:
    """Entries in the order of their bytes. BadArchive for links and other kinds, encryption, overlaps, and claims that are not true."""
    size = os.fstat(file.fileno()).st_size
    counted = ArchiveBytes(size)
    for place in _placed(file, size, rules):
        record = place.record
        is_folder = place.name.endswith("/")
        _check_kind(record, place.name, is_folder=is_folder)
        yield Entry(
            name=place.name.removesuffix("/"),
            is_folder=is_folder,
            is_executable=record.system in UNIX_SYSTEMS and bool(record.attributes >> 16 & 0o100),
            pieces=() if is_folder else _pieces(file, place),
            archive_bytes=counted,
        )


def _placed(file: BinaryIO, size: int, rules: ArchiveRules) -> Iterator[Placed]:
    """Every record with its place, none of which touches another's."""
    records, directory_start = directory(file, size, max_entries=rules.max_entries, max_bytes=MAX_DIRECTORY_BYTES)
    free_from = 0
    for record in sorted(records, key=lambda record: record.offset):
        name = _decoded(record)
        if record.offset < free_from:
            raise BadArchive(f"entry {shown(name)}: its bytes overlap another entry's")
        start = _data_start(file, record, name)
        free_from = start + record.compressed
        if free_from > directory_start:
            raise BadArchive(f"entry {shown(name)}: its bytes reach beyond the archive's entries")
        yield Placed(record, name, start)


def _decoded(record: Record) -> str:
    """Names without the UTF-8 flag are often UTF-8 all the same; otherwise they are code page 437."""
    if len(record.name) > MAX_NAME_BYTES:
        raise BadArchive(f"entry {shown(repr(record.name[:64]))}: the name is longer than {MAX_NAME_BYTES} bytes")
    try:
        return record.name.decode()
    except UnicodeDecodeError:
        if record.flags & 0x800:
            raise BadArchive(f"entry {shown(record.name.decode(errors='backslashreplace'))}: the name is not UTF-8") from None
        return record.name.decode("cp437")


def _data_start(file: BinaryIO, record: Record, name: str) -> int:
    file.seek(record.offset)
    header = file.read(LOCAL.size)
    if len(header) < LOCAL.size or header[:4] != b"PK\x03\x04":
        raise BadArchive(f"entry {shown(name)}: the directory points to where no entry is")
    name_length, extra_length = LOCAL.unpack(header)[9:11]
    if file.read(name_length) != record.name:
        raise BadArchive(f"entry {shown(name)}: the directory and the entry have different names")
    return record.offset + LOCAL.size + int(name_length) + int(extra_length)


def _check_kind(record: Record, name: str, *, is_folder: bool) -> None:
    kind = stat.S_IFMT(record.attributes >> 16) if record.system in UNIX_SYSTEMS else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > is_folder:
        raise BadArchive(f"entry {shown(name)} is a link or a device, not a regular file or a folder")
    if record.flags & ENCRYPTED:
        raise BadArchive(f"entry {shown(name)} is encrypted")
    if record.method not in (STORED, DEFLATED):
        raise BadArchive(f"entry {shown(name)} is compressed by method {record.method}; stored and deflated are taken")
    if is_folder and record.size:
        raise BadArchive(f"entry {shown(name)} is a folder with bytes")


def _pieces(file: BinaryIO, place: Placed) -> Iterator[bytes]:
    """The bytes, of exactly the size and checksum that the directory says."""
    record, name = place.record, shown(place.name)
    size = checksum = 0
    for piece in _inflated(file, place) if record.method == DEFLATED else _raw(file, place):
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
        if size > record.size:
            raise BadArchive(f"entry {name} is larger than it says")
        yield piece
    if size != record.size:
        raise BadArchive(f"entry {name} is smaller than it says")
    if checksum != record.crc:
        raise BadArchive(f"entry {name} does not have the checksum that it says")


def _raw(file: BinaryIO, place: Placed) -> Iterator[bytes]:
    file.seek(place.start)
    left = place.record.compressed
    while left and (piece := file.read(min(PIECE, left))):
        left -= len(piece)
        yield piece


def _inflated(file: BinaryIO, place: Placed) -> Iterator[bytes]:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in _raw(file, place):
            waiting = piece
            while waiting and not engine.eof:
                yield engine.decompress(waiting, PIECE)
                waiting = engine.unconsumed_tail
        while not engine.eof and (piece := engine.decompress(b"", PIECE)):
            yield piece
    except zlib.error as error:
        raise BadArchive(f"entry {shown(place.name)} is damaged: {error}") from None
    if not engine.eof:
        raise BadArchive(f"entry {shown(place.name)} ends too early")
