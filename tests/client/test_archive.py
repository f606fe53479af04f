"""All artifacts as one file: whole, verified and in place, or not there at all."""

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from core.wire.base import Page
from core.wire.jobs import Artifact
from core.wire.keys import Scope
from tests.api.serving import Served
from tests.api.shipping import Shipper
from tests.bed.proxy import Proxy
from tests.client.conftest import JOB, Terminal
from tests.client.scripted_server import Reply, ScriptedServer, json_reply
from trainyard import Client
from trainyard.archive import ArchiveKind
from trainyard.downloads import Coming
from trainyard.errors import CannotConnect, DownloadFailed
from trainyard.retrying import RetryPolicy

FILES = {"model.pt2": os.urandom(24_000_000), "reports/größe.md": b"# card", "empty": b""}
FIRST_BYTES = 500_000  # of an archive, before its connection breaks; the rest is more than sockets hold


@pytest.fixture
def shipper(served: Served) -> Shipper:
    shipper = Shipper(served)
    shipper.hand_over(files=FILES)
    shipper.finish()
    return shipper


def unpacked(path: Path, kind: str) -> dict[str, bytes]:
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(path) as tar:
        return {member.name: found.read() for member in tar if (found := tar.extractfile(member))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where nothing else lies."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_job_is_downloaded_as_one_file(trainyard: Terminal, shipper: Shipper, folder: Path, kind: str) -> None:
    target = folder / "new" / f"model.{kind}"
    told = trainyard.json("download", "last", str(target), "--archive", kind)
    assert told == {"job_id": shipper.job_id, "archive": str(target), "files": sorted(FILES)}
    assert unpacked(target, kind) == {f"{shipper.job_id}/{path}": content for path, content in FILES.items()}
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    said = trainyard("download", shipper.job_id, str(target.parent), "--archive", kind)
    assert "3 files, each with the SHA-256" in said, "into a folder under the job's name"
    assert (target.parent / f"{shipper.job_id}.{kind}").read_bytes() == target.read_bytes()


def test_its_file_is_named_after_the_job_where_one_stands(
    trainyard: Terminal, shipper: Shipper, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    trainyard("download", "--archive", "tar")
    assert [path.name for path in folder.iterdir() if path.is_file()] == [f"{shipper.job_id}.tar"]


def test_what_cannot_be_had_is_refused_and_leaves_nothing(trainyard: Terminal, served: Served, folder: Path) -> None:
    empty = Shipper(served).job_id
    assert "no artifacts yet" in trainyard.complaint("download", empty, str(folder / "a.tar"), "--archive", "tar", code=4)
    assert "rar" in trainyard.complaint("download", empty, str(folder / "a.tar"), "--archive", "rar", code=2)
    assert not (folder / "a.tar").exists()


def test_a_place_that_cannot_be_written_is_told(trainyard: Terminal, shipper: Shipper, folder: Path) -> None:
    (folder / "file").write_bytes(b"")
    said = trainyard.complaint("download", shipper.job_id, str(folder / "file" / "a.tar"), "--archive", "tar", code=1)
    assert "cannot write" in said


def test_progress_ends_at_the_size_that_was_announced(served: Served, shipper: Shipper, folder: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    with Client(served.url, shipper.admin.headers["authorization"].removeprefix("Bearer ")) as client:
        client.download_archive(shipper.job_id, folder / "a.tar", on_bytes=lambda file, count: heard.append((file.path, count, file.size)))
    assert len(heard) > 2
    size = (folder / "a.tar").stat().st_size
    assert heard[-1] == (f"{shipper.job_id}.tar", size, size)


class Cutting:
    """A client behind a network that breaks the first ``num`` downloads after some bytes have come."""

    def __init__(self, served: Served, key: str, proxy: Proxy, num: int) -> None:
        self.proxy, self.left, self.is_cut = proxy, num, False
        self.counts: list[int] = []
        self.naps: list[float] = []
        retry = RetryPolicy(max_tries=3, draw=lambda: 0.0)
        self.client = Client(f"http://127.0.0.1:{proxy.port}", key, retry=retry, sleep=self.naps.append)

    def heard(self, file: Coming, count: int) -> None:
        if not self.counts or count < self.counts[-1]:
            self.is_cut = False  # another try
        self.counts.append(count)
        if self.left and not self.is_cut and count > FIRST_BYTES:
            self.left, self.is_cut = self.left - 1, True
            self.proxy.cut()

    def download(self, shipper: Shipper, target: Path) -> None:
        with self.client:
            self.client.download_archive(shipper.job_id, target, on_bytes=self.heard)


@pytest.fixture
def cutting(served: Served) -> Iterator[Callable[[int], Cutting]]:
    key = served.key(Scope.READ)
    with Proxy(("127.0.0.1", int(served.url.rpartition(":")[2]))) as proxy:
        yield lambda num: Cutting(served, key, proxy, num)


def test_one_that_breaks_off_begins_anew(cutting: Callable[[int], Cutting], shipper: Shipper, folder: Path) -> None:
    broken = cutting(2)
    broken.download(shipper, folder / "a.tar")
    assert unpacked(folder / "a.tar", "tar") == {f"{shipper.job_id}/{path}": content for path, content in FILES.items()}
    starts = sum(after < before for before, after in pairwise(broken.counts))
    assert (starts, len(broken.naps)) == (2, 2), "each try is from the first byte on"
    assert [path.name for path in folder.iterdir()] == ["a.tar"]


def test_one_that_keeps_breaking_off_leaves_what_was_there_before(
    cutting: Callable[[int], Cutting], shipper: Shipper, folder: Path
) -> None:
    (folder / "a.tar").write_bytes(b"older")
    with pytest.raises(CannotConnect, match=r"broke off 3 times.* Nothing of it is kept.*one by one goes on"):
        cutting(3).download(shipper, folder / "a.tar")
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("a.tar", b"older")]


def test_what_a_killed_download_left_is_written_over(served: Served, shipper: Shipper, folder: Path) -> None:
    (folder / ".a.tar.tar.part").write_bytes(bytes(10_000_000))
    with Client(served.url, served.key(Scope.READ)) as client:
        client.download_archive(shipper.job_id, folder / "a.tar")
    assert [path.name for path in folder.iterdir()] == ["a.tar"]
    assert len(unpacked(folder / "a.tar", "tar")) == len(FILES)


def made(kind: ArchiveKind, files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return content.getvalue()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"a": b"one", "b": b"TWO"}, "b in the archive is not what the server announced"),
        ({"a": b"one"}, "lacks .*/b and 0 more"),
        ({"a": b"one", "b": b"two", "c": b"more"}, "c in the archive is not what"),
        (None, "cannot be read"),
    ],
)
def test_promise_10_an_archive_of_other_bytes_never_reaches_its_place(
    client: Client, server: ScriptedServer, folder: Path, kind: ArchiveKind, sent: dict[str, bytes] | None, message: str
) -> None:
    listed = [announced(path, content) for path, content in {"a": b"one", "b": b"two"}.items()]
    server.on("GET", f"/v1/jobs/{JOB}/artifacts", json_reply(Page[Artifact](data=listed, has_more=False).model_dump_json()))
    body = b"x" * 5000 if sent is None else made(kind, {f"{JOB}/{path}": content for path, content in sent.items()})
    server.on("GET", f"/v1/jobs/{JOB}/archive", Reply(200, body))
    with pytest.raises(DownloadFailed, match=message):
        client.download_archive(JOB, folder / "a", format=kind)
    assert list(folder.iterdir()) == []
    (asked,) = server.requests("GET", f"/v1/jobs/{JOB}/archive")
    assert asked.query == {"format": [kind], "attempt": ["3"]}, "the archive is of the attempt whose files were listed"


def announced(path: str, content: bytes) -> Artifact:
    return Artifact(
        id=f"art_{path}",
        job_id=JOB,
        attempt=3,
        path=path,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        media_type="application/octet-stream",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
