"""Downloads from servers and over networks that misbehave: whole and verified in place, or not there at all."""

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.wire.base import Page
from core.wire.jobs import Artifact
from tests.client.conftest import JOB
from tests.client.scripted_server import Asked, Reply, ScriptedServer, json_reply, problem, scripted_server
from trainyard import Client
from trainyard.errors import CannotConnect, DownloadFailed, UnsafePath

CONTENT = os.urandom(300_000)
LIST = f"/v1/jobs/{JOB}/artifacts"


def artifact(path: str, content: bytes = CONTENT, *, size: int | None = None) -> Artifact:
    return Artifact(
        id=f"art_{path}",
        job_id=JOB,
        attempt=1,
        path=path,
        size=len(content) if size is None else size,
        sha256=hashlib.sha256(content).hexdigest(),
        media_type="application/octet-stream",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def offer(server: ScriptedServer, *artifacts: Artifact) -> None:
    server.on("GET", LIST, json_reply(Page[Artifact](data=list(artifacts), has_more=False).model_dump_json()))


def ranged(content: bytes, *, cut_at: list[int]) -> Callable[[Asked], Reply]:
    """Serves ranges as RFC 9110 says, and breaks off after so many bytes each time."""

    def answer(asked: Asked) -> Reply:
        cut = cut_at.pop(0) if cut_at else None
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        wanted = asked.headers.get("range")
        if wanted is None or asked.headers.get("if-range") != etag:
            return Reply(200, content, {"ETag": etag}, cut_after=cut)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        head = {"ETag": etag, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return Reply(206, content[start:], head, cut_after=cut)

    return answer


def test_files_arrive_whole_below_the_folder(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("model.pt2"), artifact("deep/er/metrics #1.json", b"{}"))
    server.on("GET", f"{LIST}/model.pt2", ranged(CONTENT, cut_at=[]))
    server.on("GET", f"{LIST}/deep/er/metrics #1.json", ranged(b"{}", cut_at=[]))
    heard: list[tuple[str, int]] = []
    paths = client.download(JOB, tmp_path / "out", on_bytes=lambda item, count: heard.append((item.path, count)))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == ["model.pt2", "deep/er/metrics #1.json"]
    assert paths[0].read_bytes() == CONTENT
    assert heard[-1] == ("deep/er/metrics #1.json", 2)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == ["metrics #1.json", "model.pt2"]


def test_an_empty_file_is_made_without_a_request(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("empty", b""))
    assert client.download(JOB, tmp_path)[0].read_bytes() == b""
    assert len(server.asked) == 1


def test_promise_10_a_broken_connection_goes_on_where_it_stopped(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("model.pt2"))
    server.on("GET", f"{LIST}/model.pt2", ranged(CONTENT, cut_at=[100_000, 50_000, 0, 1]))
    assert client.download(JOB, tmp_path)[0].read_bytes() == CONTENT
    asked = server.requests("GET", f"{LIST}/model.pt2")
    assert [request.headers.get("range") for request in asked] == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-", "bytes=150001-"]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("model.pt2"))
    server.on("GET", f"{LIST}/model.pt2", ranged(CONTENT, cut_at=[70_000, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(CannotConnect, match="run the same again"):
        client.download(JOB, tmp_path)
    assert not (tmp_path / "model.pt2").exists()
    assert client.download(JOB, tmp_path)[0].read_bytes() == CONTENT
    assert server.asked[-1].headers["range"] == "bytes=70000-"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


def test_what_is_there_already_is_not_fetched_again(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("model.pt2"))
    (tmp_path / "model.pt2").write_bytes(CONTENT)
    client.download(JOB, tmp_path)
    assert server.requests("GET", f"{LIST}/model.pt2") == []


def test_a_damaged_part_is_noticed_by_the_digest_and_fetched_anew(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    item = artifact("model.pt2")
    offer(server, item)
    (tmp_path / f".model.pt2.{item.sha256[:12]}.part").write_bytes(b"x" * 1000)
    server.on("GET", f"{LIST}/model.pt2", ranged(CONTENT, cut_at=[]))
    assert client.download(JOB, tmp_path)[0].read_bytes() == CONTENT
    assert [asked.headers.get("range") for asked in server.requests("GET", f"{LIST}/model.pt2")] == ["bytes=1000-", None]


def test_promise_10_bytes_with_another_digest_never_reach_their_place(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("model.pt2"))
    wrong = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    server.on("GET", f"{LIST}/model.pt2", ranged(wrong, cut_at=[]))
    with pytest.raises(DownloadFailed, match="SHA-256"):
        client.download(JOB, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests("GET", f"{LIST}/model.pt2")) == 2


def test_more_bytes_than_announced_are_not_written_on_and_on(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("model.pt2", size=1000))
    server.on("GET", f"{LIST}/model.pt2", ranged(CONTENT, cut_at=[]))
    with pytest.raises(DownloadFailed, match="more than the 1000 bytes"):
        client.download(JOB, tmp_path)
    assert not (tmp_path / "model.pt2").exists()


def test_a_server_that_keeps_sending_too_little_is_given_up(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("model.pt2"))
    server.on("GET", f"{LIST}/model.pt2", Reply(200, CONTENT[:5000]))
    with pytest.raises(CannotConnect, match="5000 of 300000"):
        client.download(JOB, tmp_path)


def test_a_range_that_the_server_cannot_serve_makes_the_download_start_over(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    item = artifact("model.pt2")
    offer(server, item)
    (tmp_path / f".model.pt2.{item.sha256[:12]}.part").write_bytes(CONTENT[:1000])
    server.on("GET", f"{LIST}/model.pt2", problem(416, "range_not_satisfiable", "x"), ranged(CONTENT, cut_at=[]))
    assert client.download(JOB, tmp_path)[0].read_bytes() == CONTENT


def test_another_range_than_the_one_asked_for_is_not_appended(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    item = artifact("model.pt2")
    offer(server, item)
    (tmp_path / f".model.pt2.{item.sha256[:12]}.part").write_bytes(CONTENT[:1000])
    odd = Reply(206, CONTENT[2000:], {"Content-Range": f"bytes 2000-{len(CONTENT) - 1}/{len(CONTENT)}"})
    server.on("GET", f"{LIST}/model.pt2", odd, ranged(CONTENT, cut_at=[]))
    assert client.download(JOB, tmp_path)[0].read_bytes() == CONTENT


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "a//b", "./evil", "a/..", "evil\x00", "e\u202evil", ""]
)
def test_promise_21_a_hostile_server_cannot_name_a_file_outside_the_folder(
    client: Client, server: ScriptedServer, tmp_path: Path, path: str
) -> None:
    offer(server, artifact("good"), artifact(path))
    server.on("GET", f"{LIST}/good", ranged(CONTENT, cut_at=[]))
    with pytest.raises(UnsafePath, match="refused"):
        client.download(JOB, tmp_path / "inner")
    assert [entry.name for entry in tmp_path.rglob("*")] in ([], ["inner"])


def test_promise_21_a_link_inside_the_folder_is_not_followed(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    outside, inner = tmp_path / "outside", tmp_path / "inner"
    outside.mkdir()
    inner.mkdir()
    (inner / "link").symlink_to(outside)
    offer(server, artifact("link/evil"))
    with pytest.raises(UnsafePath, match="link"):
        client.download(JOB, inner)
    assert list(outside.iterdir()) == []


def test_promise_21_a_link_in_the_place_of_a_part_is_not_written_through(client: Client, server: ScriptedServer, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    inner = tmp_path / "inner"
    inner.mkdir()
    item = artifact("model.pt2")
    (inner / f".model.pt2.{item.sha256[:12]}.part").symlink_to(victim)
    offer(server, item)
    with pytest.raises(DownloadFailed, match="cannot write"):
        client.download(JOB, inner)
    assert victim.read_bytes() == b"precious"


@pytest.fixture
def store() -> Iterator[ScriptedServer]:
    """The place where the bytes lie, on another origin; it records everything that it is told."""
    with scripted_server() as recording:
        yield recording


def sent_to(store: ScriptedServer) -> Reply:
    return Reply(307, b"", {"Location": f"{store.url}/bucket/object?X-Amz-Signature=abc&name=a%20b"})


def test_promise_24_the_store_is_never_told_our_key(client: Client, server: ScriptedServer, store: ScriptedServer, tmp_path: Path) -> None:
    offer(server, artifact("model.pt2"))
    server.on("GET", f"{LIST}/model.pt2", sent_to(store))
    store.on("GET", "/bucket/object", ranged(CONTENT, cut_at=[]))
    assert client.download(JOB, tmp_path)[0].read_bytes() == CONTENT
    (asked,) = store.asked
    assert asked.query == {"X-Amz-Signature": ["abc"], "name": ["a b"]}
    key = server.asked[0].headers["authorization"].removeprefix("Bearer ")
    assert key
    assert "authorization" not in asked.headers
    assert "cookie" not in asked.headers
    assert not [value for value in asked.headers.values() if key in value]


@pytest.mark.parametrize("trouble", ["expired", "gone", "another address", "no address"])
def test_where_the_store_does_not_serve_the_server_does(
    client: Client, server: ScriptedServer, store: ScriptedServer, tmp_path: Path, trouble: str
) -> None:
    offer(server, artifact("model.pt2"))
    place = {"gone": "http://127.0.0.1:1/x", "another address": "ftp://127.0.0.1/x", "no address": ""}.get(trouble)
    redirect = sent_to(store) if place is None else Reply(307, b"", {"Location": place})
    store.on("GET", "/bucket/object", Reply(403, b"<Error><Code>AccessDenied</Code></Error>"))
    server.on("GET", f"{LIST}/model.pt2", redirect, ranged(CONTENT, cut_at=[]))
    assert client.download(JOB, tmp_path)[0].read_bytes() == CONTENT
    assert [asked.query for asked in server.requests("GET", f"{LIST}/model.pt2")] == [{}, {"direct": ["false"]}]


def test_promise_10_a_download_from_the_store_that_breaks_goes_on(
    client: Client, server: ScriptedServer, store: ScriptedServer, tmp_path: Path
) -> None:
    """The second request carries If-Range, so the server answers that one itself."""
    offer(server, artifact("model.pt2"))
    store.on("GET", "/bucket/object", ranged(CONTENT, cut_at=[100_000]))
    server.on("GET", f"{LIST}/model.pt2", sent_to(store), ranged(CONTENT, cut_at=[]))
    assert client.download(JOB, tmp_path)[0].read_bytes() == CONTENT
    assert server.asked[-1].headers["range"] == "bytes=100000-"


def test_promise_10_a_store_with_other_bytes_is_not_believed(
    client: Client, server: ScriptedServer, store: ScriptedServer, tmp_path: Path
) -> None:
    offer(server, artifact("model.pt2"))
    server.on("GET", f"{LIST}/model.pt2", sent_to(store))
    store.on("GET", "/bucket/object", Reply(200, CONTENT[::-1]))
    with pytest.raises(DownloadFailed, match="SHA-256"):
        client.download(JOB, tmp_path)
    assert list(tmp_path.iterdir()) == []
