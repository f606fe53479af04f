"""A quarter of a gigabyte up and down, by every way: the server's memory does not follow it."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.api.serving import Json
from tests.api.test_process import ApiProcess
from tests.api.test_worker_bytes_kill import claimed
from tests.bed.servers import Servers

PIECE = hashlib.sha256(b"piece").digest() * (1 << 15)  # 1 MiB
NUM_PIECES = 256
SIZE = NUM_PIECES * len(PIECE)
GROWTH = 96 << 20  # bytes: parts on their way to the bucket, and buffers; far less than the object


def pieces() -> Iterator[bytes]:
    for _ in range(NUM_PIECES):
        yield PIECE


def digest_of(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """Resident bytes of the process, again and again while the block runs."""
    seen: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        process = psutil.Process(pid)
        while True:
            seen.append(process.memory_info().rss)
            if is_over.wait(0.02):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


@pytest.mark.timeout(300)  # the S3 server of the bed copies 30 MB a second where others keep both cores busy
@pytest.mark.parametrize("way", ["folder", "through the server", "straight to the bucket"])
def test_memory_stays_flat(sqlite_url: str, servers: Servers, tmp_path: Path, way: str) -> None:
    sha256 = digest_of(pieces())
    api = ApiProcess(sqlite_url, tmp_path, **({} if way == "folder" else servers.s3.new_bucket().environment()))
    admin, worker = api.key(), api.key("worker")
    server = api.serve()
    try:
        attempt, lease = claimed(api, admin, worker)
        with api.client(lease) as http, api.client(admin) as reader, watched(server.pid) as seen:
            http.timeout = reader.timeout = httpx2.Timeout(100)
            if way == "straight to the bucket":
                put_straight(http, f"{attempt}/blobs/{sha256}")
            else:
                headers = {"Content-Length": str(SIZE)}
                sent = http.put(f"{attempt}/blobs/{sha256}", params={"offset": 0, "size": SIZE}, content=pieces(), headers=headers)
                assert sent.json()["is_complete"], sent.text
            manifest = {"files": [{"path": "model", "size": SIZE, "sha256": sha256}]}
            assert http.post(f"{attempt}/artifacts", json={"manifest": manifest}).status_code == 200
            job = reader.get("/v1/jobs").json()["data"][0]["id"]
            with reader.stream("GET", f"/v1/jobs/{job}/artifacts/model?direct=false") as answer:
                assert digest_of(answer.iter_bytes()) == sha256
        assert max(seen) - seen[0] < GROWTH, f"grew by {(max(seen) - seen[0]) >> 20} MiB"
        print(f"{way}: grew by {(max(seen) - seen[0]) >> 20} MiB over {seen[0] >> 20} MiB")
    finally:
        server.stop()


def put_straight(http: httpx2.Client, url: str) -> None:
    place: Json = http.get(f"{url}/upload", params={"size": SIZE}).json()["direct"]
    assert httpx2.put(place["url"], content=pieces(), headers=place["headers"], timeout=100, trust_env=False).is_success
    assert http.post(f"{url}/adopt", params={"size": SIZE}).json()["is_complete"]
