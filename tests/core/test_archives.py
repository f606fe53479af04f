"""Archives that strangers made: what comes out of good ones, and that bad ones leave nothing behind."""

import gzip
import io
import os
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.archives import ArchiveRules, BadArchive, extract
from tests.core.made_archives import make_tar, make_zip, named, refused

HOSTILE_NAMES = [
    "../canary",
    "a/../../canary",
    "/canary",
    "a//b",
    "a/./b",
    "a\\b",
    "C:evil",
    "a\nb",
    "a\x9bb",
    "safe\u202etxt.exe",
    "u\u0308mlaut-not-nfc",
    "x" * 256,
    "/".join("abcdefghijklmnopqrstuvwxyzabcdefgh"),
    "nul.txt",
    "folder/COM1",
    "ends-with-dot.",
    "ends with space ",
    "a" * 200 + "/" + ("b" * 200 + "/") * 5 + "c",
]


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_files_come_out_as_they_went_in(make: Callable[[Path, dict[str, bytes]], Path], tmp_path: Path) -> None:
    entries = {"train.py": b"print(1)\n", "data/\u00e9t\u00e9/x.bin": os.urandom(700_000), "empty": b""}
    contents = extract(make(tmp_path / "a", entries), tmp_path / "out")
    assert {
        str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    } == entries
    assert (contents.num_files, contents.num_bytes) == (3, sum(map(len, entries.values())))
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


@pytest.mark.parametrize("options", [["-czf"], ["--format=gnu", "-cf"], ["--format=pax", "-czf"], ["--format=ustar", "-cf"]])
def test_what_the_tar_program_writes_is_read(options: list[str], tmp_path: Path) -> None:
    code = tmp_path / "code"
    long = code / ("d" * 60) / ("e" * 60)
    long.mkdir(parents=True)
    (long / "module.py").write_text("1")
    (code / "run.sh").write_text("#!/bin/sh\n")
    (code / "run.sh").chmod(0o755)
    subprocess.run(["tar", *options, str(tmp_path / "a"), "-C", str(code), "."], check=True)
    extract(tmp_path / "a", tmp_path / "out", kind="tar")
    assert (tmp_path / "out" / long.relative_to(code) / "module.py").read_text() == "1"
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "out" / long.relative_to(code) / "module.py", os.X_OK)


def test_a_zip_that_was_streamed_and_one_of_64_bits_are_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """A file that cannot seek: zipfile then puts sizes behind the bytes."""

        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.content += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.txt", "w", force_zip64=True) as entry:
        entry.write(b"streamed")
    (tmp_path / "a.zip").write_bytes(pipe.content)
    extract(tmp_path / "a.zip", tmp_path / "out", kind="zip")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"streamed"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_name_that_could_mean_another_place_is_refused(make: Callable[[Path, dict[str, bytes]], Path], name: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    refused(make(folder / "a", {"good.txt": b"1", name: b"2"}), "entry ")


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    ("names", "message"),
    [(("a", "A"), "case alone"), (("a", "a/b"), "a file and a folder"), (("a/b", "a"), "two of this name"), (("x/a", "X/b"), "case alone")],
)
def test_names_that_collide_are_refused(
    make: Callable[[Path, dict[str, bytes]], Path], names: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    refused(make(tmp_path / "archive", dict.fromkeys(names, b"1")), message)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_hundred_thousand_and_one_entries_are_refused_quickly(kind: str, tmp_path: Path) -> None:
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a", "w") as archive:
            for number in range(100_001):
                archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    else:
        block = tarfile.TarInfo("n" * 8).tobuf(tarfile.USTAR_FORMAT)
        with (tmp_path / "a").open("wb") as file:
            for number in range(100_001):
                file.write(named(block, f"{number:08}"))
            file.write(bytes(1024))
    start = time.monotonic()
    refused(tmp_path / "a", "more than 100000 files and folders")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_stopped_early_and_memory_stays_flat(kind: str, tmp_path: Path) -> None:
    piece = bytes(1 << 20)
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as entry:
            for _ in range(256):
                entry.write(piece)
    else:
        with gzip.open(tmp_path / "a", "wb") as stream:
            info = tarfile.TarInfo("zeros")
            info.size = 256 << 20
            stream.write(info.tobuf())
            for _ in range(256):
                stream.write(piece)
    code = (
        "import resource, sys; from pathlib import Path; from core.archives import *\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: extract(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except BadArchive as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)"
    )
    start = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a"), str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    message, growth = told.stdout.splitlines()
    assert "200 times as many" in message
    assert int(growth) < 50_000  # KiB
    assert time.monotonic() - start < 10
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_more_bytes_than_allowed_are_refused(make: Callable[[Path, dict[str, bytes]], Path], tmp_path: Path) -> None:
    refused(make(tmp_path / "a", {"a": os.urandom(600), "b": os.urandom(600)}), "more than 1000 bytes", ArchiveRules(max_bytes=1000))


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_every_truncation_is_refused(make: Callable[[Path, dict[str, bytes]], Path], tmp_path: Path) -> None:
    sane = make(tmp_path / "a", {"one": os.urandom(3000), "two": b"2" * 3000}).read_bytes()
    for length in range(0, len(sane) - 1, 97):
        (tmp_path / "a").write_bytes(sane[:length])
        refused(tmp_path / "a", ".")


def test_what_is_no_archive_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    for content, message in {
        b"": "empty",
        b"PK\x05\x06" + bytes(18): "no file",
        b"#!/bin/sh\n" * 100: "neither",
        gzip.compress(bytes(1024)): "no file",
        gzip.compress(b"hello"): "too early",
        b"\x1f\x8b" + os.urandom(600): "damaged",
    }.items():
        (tmp_path / "a").write_bytes(content)
        refused(tmp_path / "a", message)


def test_the_bytes_decide_what_an_archive_is_and_its_name_must_agree(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.zip", {"one": b"1"}, mode="w")
    with pytest.raises(BadArchive, match="called a zip archive but is a tar"):
        extract(archive, tmp_path / "out", kind="zip")
    assert os.listdir(tmp_path) == ["a.zip"]


def test_an_archive_inside_an_archive_stays_one_file(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner", {"../escape": b"1"}).read_bytes()
    extract(make_zip(tmp_path / "a", {"inner.zip": inner}), tmp_path / "out")
    assert (tmp_path / "out" / "inner.zip").read_bytes() == inner


def test_an_existing_target_is_left_alone(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"one": b"1"})
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        extract(archive, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["a", "out"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".out.unpacking").mkdir()
    (tmp_path / ".out.unpacking" / "half").write_text("1")
    extract(make_zip(tmp_path / "a", {"one": b"1"}), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one"]
