"""The two formats from inside: headers that lie, point elsewhere or overlap."""

import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.made_archives import make_tar, make_zip, refused, special_tar, with_extra


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    sane = make_zip(tmp_path / "a", {"good.txt": b"1", "ab.py": b"2"}).read_bytes()
    (tmp_path / "a").write_bytes(sane.replace(b"ab.py", b"a\0.py"))
    assert "'a\\x00.py'" in refused(tmp_path / "a", "control")


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    sane = make_zip(tmp_path / "a", {"\u00e9b.py": b"2"}).read_bytes()
    (tmp_path / "a").write_bytes(sane.replace("\u00e9".encode(), b"\xff\xfe"))
    refused(tmp_path / "a", "not UTF-8")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"S", b"Z"])
def test_links_devices_and_other_kinds_are_refused_in_a_tar(kind: bytes, tmp_path: Path) -> None:
    assert "'sly\\nentry'" in refused(special_tar(tmp_path / "a", kind), "not a regular file")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_devices_and_other_kinds_are_refused_in_a_zip(kind: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "a", "link or a device")


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        archive.addfile(tarfile.TarInfo("twice"))
        archive.addfile(tarfile.TarInfo("twice"))
    refused(tmp_path / "a", "two of this name")


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    """Two directory records that point to one local header, as a quine of many would."""
    sane = make_zip(tmp_path / "a", {"one": b"1" * 1000}).read_bytes()
    directory = sane.index(b"PK\x01\x02")
    end = sane.index(b"PK\x05\x06")
    record = sane[directory:end]
    fields = list(struct.unpack("<4s4H2LH", sane[end:]))
    fields[3], fields[4], fields[5] = 2, 2, 2 * len(record)
    (tmp_path / "a").write_bytes(sane[:end] + record + struct.pack("<4s4H2LH", *fields))
    refused(tmp_path / "a", "overlap")


@pytest.mark.parametrize(("claim", "message"), [(10, "larger than it says"), (5000, "smaller than it says")])
def test_a_zip_that_lies_about_sizes_is_refused(claim: int, message: str, tmp_path: Path) -> None:
    sane = bytearray(make_zip(tmp_path / "a", {"one": b"1" * 1000}).read_bytes())
    struct.pack_into("<L", sane, sane.index(b"PK\x01\x02") + 24, claim)
    (tmp_path / "a").write_bytes(sane)
    refused(tmp_path / "a", message)


def test_a_wrong_checksum_another_local_name_and_encryption_are_refused(tmp_path: Path) -> None:
    sane = make_zip(tmp_path / "a", {"one": b"1" * 1000}).read_bytes()
    record = sane.index(b"PK\x01\x02")
    changes: dict[str, Callable[[bytearray], None]] = {
        "checksum": lambda data: struct.pack_into("<L", data, record + 16, 1),
        "different names": lambda data: struct.pack_into("<3s", data, record + 46, b"two"),
        "encrypted": lambda data: struct.pack_into("<H", data, record + 8, 1),
        "by method 12": lambda data: struct.pack_into("<H", data, record + 10, 12),
        "no entry is|where no": lambda data: struct.pack_into("<L", data, record + 42, 5),
    }
    for message, change in changes.items():
        damaged = bytearray(sane)
        change(damaged)
        (tmp_path / "a").write_bytes(damaged)
        refused(tmp_path / "a", message)


def test_a_plain_tar_without_its_end_is_refused(tmp_path: Path) -> None:
    sane = make_tar(tmp_path / "a", {"one": b"1" * 3000}, mode="w").read_bytes()
    for length in (512, 1024, 2000, 512 + 3072):
        (tmp_path / "a").write_bytes(sane[:length])
        refused(tmp_path / "a", "too early")


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (b"99999 path=x\n", "damaged"),
        (b"12 size=abc\n", "no number"),
        (b"22 GNU.sparse.major=1\n", "sparse"),
        (b"19 path=../canary!!\n"[:19].replace(b"!!\n", b"!!"), "damaged"),
        (b"18 path=../canary\n", "relative"),
    ],
)
def test_extended_tar_headers_are_no_way_around_the_rules(records: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(with_extra(tarfile.XHDTYPE, records))
    refused(tmp_path / "a", message)


def test_headers_of_headers_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(with_extra(tarfile.XHDTYPE, b"x" * 70_000))
    refused(tmp_path / "a", "too large")
    (tmp_path / "a").write_bytes(with_extra(tarfile.XGLTYPE, b"10 path=x\n"))
    refused(tmp_path / "a", "all entries")


def test_damaged_compressed_bytes_are_refused(tmp_path: Path) -> None:
    sane = bytearray(make_zip(tmp_path / "a", {"one": os.urandom(50) * 50}).read_bytes())
    sane[40:60] = bytes(20)
    (tmp_path / "a").write_bytes(sane)
    refused(tmp_path / "a", "entry 'one'")
