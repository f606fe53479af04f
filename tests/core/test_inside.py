"""Files that others may have put there are opened as what they are, or not at all."""

import errno
import os
import threading
from pathlib import Path

import pytest

from core.inside import open_inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "trusted" / "root"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("own")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    return folder


def code_of(root: Path, name: str) -> int | None:
    try:
        open_inside(root, root / name).close()
    except OSError as error:
        return error.errno
    return None


def test_a_file_is_read(root: Path) -> None:
    with open_inside(root, root / "deep" / "file") as file:
        assert file.read() == b"own"


def test_links_lead_nowhere_wherever_they_are_on_the_way(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(tmp_path / "secret" / "file")
    (root / "folder").symlink_to(tmp_path / "secret")
    (root / "near").symlink_to("deep/file")
    for name in ("link", "folder/file", "near"):
        assert code_of(root, name) == errno.ELOOP
    (tmp_path / "trusted" / "another").symlink_to(tmp_path / "secret")
    assert code_of(tmp_path / "trusted" / "another", "file") == errno.ELOOP


def test_links_above_the_root_are_the_owners_own(root: Path, tmp_path: Path) -> None:
    (tmp_path / "by-another-name").symlink_to(tmp_path / "trusted")
    with open_inside(tmp_path / "by-another-name" / "root", tmp_path / "by-another-name" / "root" / "deep" / "file") as file:
        assert file.read() == b"own"


def test_nothing_is_waited_for_and_only_files_are_files(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert code_of(root, "pipe") == errno.EINVAL
    assert code_of(root, "deep") == errno.EINVAL
    assert code_of(root, "absent") == errno.ENOENT
    assert code_of(root, "deep/../../root/deep/file") == errno.ELOOP


def test_what_is_unlinked_while_it_is_open_stays_readable(root: Path) -> None:
    with open_inside(root, root / "deep" / "file") as file:
        (root / "deep" / "file").unlink()
        assert file.read() == b"own"


def test_no_exchange_of_folders_and_links_outruns_the_look(root: Path, tmp_path: Path) -> None:
    """A thread that swaps a folder for a link and back, as fast as it can."""
    done = threading.Event()
    (root / "link").symlink_to(tmp_path / "secret")

    def swap() -> None:
        while not done.is_set():
            (root / "deep").rename(root / "aside")
            (root / "link").rename(root / "deep")
            (root / "deep").rename(root / "link")
            (root / "aside").rename(root / "deep")

    swapper = threading.Thread(target=swap)
    swapper.start()
    found, refusals = set(), set()
    try:
        for _ in range(3000):
            try:
                with open_inside(root, root / "deep" / "file") as file:
                    found.add(file.read())
            except OSError as error:
                refusals.add(error.errno)
    finally:
        done.set()
        swapper.join()
    assert found == {b"own"}
    assert refusals <= {errno.ENOENT, errno.ELOOP}
