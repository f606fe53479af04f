"""Entries of a tar archive, one after the other in one pass; only headers that tell a name or a size are understood.

The format is POSIX.1-2001 pax interchange (ustar blocks of 512 bytes, ``x`` records) with GNU's long names (``L``).
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from core.archives.entries import ArchiveBytes, Entry
from core.archives.rules import ArchiveRules, shown
from core.errors import BadArchive

BLOCK = 512
PIECE = 256 << 10
MAX_EXTRA_BYTES = 64 << 10  # of one header that belongs to the next
_RECORD = re.compile(rb"(\d{1,6}) ([^=]{1,256})=")
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class Source(Protocol):
    """Bytes in order, as much as is asked for unless they end."""

    def read(self, size: int, /) -> bytes: ...


class Next(NamedTuple):
    """What headers before an entry's own have said of it."""

    name: str | None = None
    size: int | None = None


def tar_entries(file: BinaryIO, rules: ArchiveRules) -> Iterator[Entry]:
    """BadArchive for anything but regular files and folders, and for an archive that ends too early."""
    return _entries(file, file)


def gzipped_tar_entries(file: BinaryIO, rules: ArchiveRules) -> Iterator[Entry]:
    """As ``tar_entries``, of the decompressed bytes; a damaged or truncated stream is a BadArchive too."""
    with gzip.GzipFile(fileobj=file) as plain:
        yield from _entries(_Guarded(plain), file)


class _Guarded:
    """A gzip stream whose own errors are BadArchive."""

    def __init__(self, plain: gzip.GzipFile) -> None:
        self._plain = plain

    def read(self, size: int, /) -> bytes:
        try:
            return self._plain.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadArchive(f"the compressed stream is damaged or ends too early: {error}") from None


def _entries(source: Source, file: BinaryIO) -> Iterator[Entry]:
    counted = ArchiveBytes()
    told = Next()
    while (header := _header(source)) is not None:
        counted.count = file.tell()
        size = header.size if told.size is None else told.size
        if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            told = _extra(header, source, told)
            continue
        name = header.name if told.name is None else told.name
        told = Next()
        name, is_folder = _plain_name(name, header)
        pieces = _pieces(source, size, name, counted, file)
        if name:
            yield Entry(
                name=name,
                is_folder=is_folder,
                is_executable=bool(header.mode & 0o100),
                pieces=pieces,
                archive_bytes=counted,
            )
        for _ in pieces:  # what the receiver left over
            pass


def _header(source: Source) -> tarfile.TarInfo | None:
    """None at the end mark, a block of zeros."""
    block = source.read(BLOCK)
    if block == bytes(BLOCK):
        return None
    if len(block) < BLOCK:
        raise BadArchive("the archive ends too early")
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise BadArchive(f"a header is damaged: {error}") from None


def _plain_name(name: str, header: tarfile.TarInfo) -> tuple[str, bool]:
    """The name without the ``./`` that ``tar -C folder .`` writes, and whether it is a folder's; empty for that folder itself."""
    is_folder = header.type == tarfile.DIRTYPE
    if not is_folder and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        raise BadArchive(f"entry {shown(name)} is {_KINDS.get(header.type, 'of an unknown kind')}, not a regular file or a folder")
    if header.size < 0 or (is_folder and header.size):
        raise BadArchive(f"entry {shown(name)} has an impossible size")
    if is_folder:
        name = name.removesuffix("/")
    if is_folder and name == ".":
        return "", True
    return name.removeprefix("./"), is_folder


def _extra(header: tarfile.TarInfo, source: Source, told: Next) -> Next:
    if not 0 <= header.size <= MAX_EXTRA_BYTES:
        raise BadArchive(f"a header of {header.size} bytes is too large")
    content = _exactly(source, header.size)
    _exactly(source, -header.size % BLOCK)
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return told._replace(name=content.rstrip(b"\0").decode("utf-8", "surrogateescape"))
    if header.type == tarfile.XHDTYPE:
        return _records(content, told)
    if header.type == tarfile.XGLTYPE and _records(content, Next()) != Next():
        raise BadArchive("a header gives one name or size to all entries")
    return told


def _records(content: bytes, told: Next) -> Next:
    """``LENGTH KEY=VALUE\\n`` records of a pax header; the length counts itself."""
    position = 0
    while position < len(content):
        match = _RECORD.match(content, position)
        end = position + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise BadArchive("an extended header is damaged")
        key, value = match[2], content[match.end() : end - 1]
        if key.startswith(b"GNU.sparse"):
            raise BadArchive("sparse files are not taken")
        if key == b"path":
            told = told._replace(name=value.decode("utf-8", "surrogateescape"))
        if key == b"size":
            told = told._replace(size=_number(value))
        position = end
    return told


def _number(value: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,18}", value):
        raise BadArchive("an extended header has a size that is no number")
    return int(value)


def _pieces(source: Source, size: int, name: str, counted: ArchiveBytes, file: BinaryIO) -> Iterator[bytes]:
    left = size
    while left:
        piece = source.read(min(PIECE, left))
        if not piece:
            raise BadArchive(f"entry {shown(name)}: the archive ends too early")
        left -= len(piece)
        counted.count = file.tell()
        yield piece
    _exactly(source, -size % BLOCK)


def _exactly(source: Source, size: int) -> bytes:
    content = source.read(size) if size else b""
    if len(content) < size:
        raise BadArchive("the archive ends too early")
    return content
