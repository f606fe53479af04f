"""A worker whose API keeps its bytes in a bucket: it goes there without its token, and through the API where that fails."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.manifest import Manifest, ManifestFile, seal
from core.wire.worker import CheckpointRequest, DirectPut
from tests.bed.s3 import S3Bucket
from tests.bed.servers import Servers
from tests.client.scripted_server import Asked, Reply, ScriptedServer, json_reply, scripted_server
from tests.worker.leased import LeasedAttempt, leased_attempt
from worker.api_client import AttemptApi
from worker.download import Downloader
from worker.patience import Patience
from worker.store_connection import Elsewhere, StoreConnection
from worker.uploader import FileChanged, OpenFiles, Uploader

LARGE = os.urandom(3 << 20)
UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture
def bucket(servers: Servers) -> S3Bucket:
    return servers.s3.new_bucket()


def sealed(attempt: LeasedAttempt, data: bytes) -> Manifest:
    (attempt.run_dir.artifacts / "model").write_bytes(data)
    return seal(attempt.run_dir.artifacts, {})


def upload(attempt: LeasedAttempt, manifest: Manifest) -> None:
    with OpenFiles(attempt.run_dir.artifacts, manifest) as files:
        Uploader(attempt.api, attempt.patience, threading.Event()).upload(files)


@pytest.mark.parametrize("is_reachable", [True, False])
def test_a_large_object_goes_up_and_down_by_the_way_that_is_open(
    sqlite_url: str, tmp_path: Path, bucket: S3Bucket, is_reachable: bool
) -> None:
    changes = {} if is_reachable else {"s3_public_endpoint": UNREACHABLE}
    with leased_attempt(sqlite_url, tmp_path, **bucket.settings(**changes)) as attempt:
        attempt.run_dir.artifacts.mkdir(parents=True, exist_ok=True)
        manifest = sealed(attempt, LARGE)
        upload(attempt, manifest)
        digest = manifest.files[0].sha256
        assert attempt.api.uploaded(digest).is_complete
        assert [name for name in bucket.names() if digest in name] == [f"sha256/{digest[:2]}/{digest[2:4]}/{digest}"]
        staged = tmp_path / "bytes" / "staging"
        assert not list(staged.iterdir())
        attempt.api.add_checkpoint(CheckpointRequest(step=1, manifest=manifest))
        Downloader(attempt.api, attempt.patience).fetch(manifest, tmp_path / "down")
        assert (tmp_path / "down" / "model").read_bytes() == LARGE


def test_a_file_that_changed_on_its_way_is_not_tried_again_and_again(sqlite_url: str, tmp_path: Path, bucket: S3Bucket) -> None:
    with leased_attempt(sqlite_url, tmp_path, **bucket.settings()) as attempt:
        attempt.run_dir.artifacts.mkdir(parents=True, exist_ok=True)
        manifest = sealed(attempt, LARGE)
        (attempt.run_dir.artifacts / "model").write_bytes(LARGE[::-1])
        with pytest.raises(FileChanged):
            upload(attempt, manifest)
        assert bucket.names() == []


@pytest.fixture
def api() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def store() -> Iterator[ScriptedServer]:
    """Records everything that it is told."""
    with scripted_server() as server:
        yield server


def test_promise_24_the_store_is_never_told_the_lease_token(api: ScriptedServer, store: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(LARGE)
    manifest = seal(tmp_path, {})
    digest = manifest.files[0].sha256
    base = "/v1/worker/attempts/att_1/blobs"
    place = DirectPut(url=f"{store.url}/bucket/object", headers={"Content-Length": str(len(LARGE))})
    api.on("GET", f"{base}/{digest}/upload", json_reply(f'{{"offset": 0, "is_complete": false, "direct": {place.model_dump_json()}}}'))
    api.on("POST", f"{base}/{digest}/adopt", json_reply(f'{{"offset": {len(LARGE)}, "is_complete": true}}'))
    api.on("GET", f"{base}/{digest}", Reply(307, b"", {"Location": f"{store.url}/bucket/object"}))
    store.on("PUT", "/bucket/object", Reply(200))
    store.on("GET", "/bucket/object", Reply(200, LARGE))
    client = AttemptApi(api.url, "att_1", "lease_of_this_test")
    patience = Patience(threading.Event())
    with OpenFiles(tmp_path, manifest) as files:
        Uploader(client, patience, threading.Event()).upload(files)
    Downloader(client, patience).fetch(manifest, tmp_path / "down")
    client.close()
    assert [asked.method for asked in store.asked] == ["PUT", "GET"]
    assert store.asked[0].body == LARGE
    assert all("lease_of_this_test" in asked.headers["authorization"] for asked in api.asked)
    for asked in store.asked:
        assert "authorization" not in asked.headers
        assert not [value for value in asked.headers.values() if "lease_of_this_test" in value]


def test_a_store_that_breaks_off_in_a_download_is_left_for_the_api(api: ScriptedServer, store: ScriptedServer, tmp_path: Path) -> None:
    """And what has arrived is kept."""

    def answer(asked: Asked) -> Reply:
        if "direct" not in asked.query:
            return Reply(307, b"", {"Location": f"{store.url}/bucket/object"})
        start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        return Reply(206, LARGE[start:])

    entry = ManifestFile(path="model", size=len(LARGE), sha256=seal_of(tmp_path / "source"))
    api.on("GET", f"/v1/worker/attempts/att_1/blobs/{entry.sha256}", answer)
    store.on("GET", "/bucket/object", Reply(200, LARGE, cut_after=1 << 20))
    client = AttemptApi(api.url, "att_1", "lease_of_this_test")
    Downloader(client, Patience(threading.Event())).fetch(Manifest(files=(entry,)), tmp_path / "down")
    client.close()
    assert (tmp_path / "down" / "model").read_bytes() == LARGE
    assert [asked.query.get("direct") for asked in api.asked] == [None, ["false"]]
    assert int(api.asked[1].headers["range"].removeprefix("bytes=").removesuffix("-")) > 0


def seal_of(folder: Path) -> str:
    folder.mkdir()
    (folder / "model").write_bytes(LARGE)
    return seal(folder, {}).files[0].sha256


def test_a_place_shows_its_url_to_nobody() -> None:
    assert "Signature" not in repr(Elsewhere("http://s3/x?X-Amz-Signature=abc"))


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/x", UNREACHABLE, "http://127.0.0.1:99999/x"])
def test_a_place_that_is_none_closes_the_direct_way(url: str) -> None:
    connection = StoreConnection()
    assert not connection.put(DirectPut(url=url), iter([b"x"]))
    assert connection.has_failed
    connection.close()
