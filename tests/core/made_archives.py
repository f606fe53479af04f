"""Archives for tests, good and hostile."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from core.archives import ArchiveRules, BadArchive, extract


def make_zip(path: Path, entries: dict[str, bytes]) -> Path:
    """A zip with exactly these names: zipfile itself would mend some."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def make_tar(path: Path, entries: dict[str, bytes], *, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def special_tar(path: Path, kind: bytes, name: str = "sly\nentry") -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = "/etc/passwd"
        archive.addfile(info)
    return path


def refused(archive: Path, message: str, rules: ArchiveRules | None = None) -> str:
    """What the refusal says; nothing but the archive and what lay there before may be left."""
    folder = archive.parent
    before = set(folder.rglob("*"))
    outside = set(folder.parent.iterdir())
    with pytest.raises(BadArchive, match=message) as caught:
        extract(archive, folder / "out", rules)
    assert set(folder.rglob("*")) == before
    assert set(folder.parent.iterdir()) == outside
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    return caught.value.message


def named(block: bytes, name: str) -> bytes:
    """A copy of a tar header with another name and the checksum that it then has."""
    header = name.encode() + block[8:148] + b" " * 8 + block[156:]
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def with_extra(kind: bytes, content: bytes) -> bytes:
    extra, plain = tarfile.TarInfo("extra"), tarfile.TarInfo("plain.txt")
    extra.type, extra.size = kind, len(content)
    return extra.tobuf() + content + bytes(-len(content) % 512) + plain.tobuf() + bytes(1024)
