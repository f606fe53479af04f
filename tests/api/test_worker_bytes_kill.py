"""kill -9 of the API in the middle of an upload: the durable part stays, the rest follows, the digest decides."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from core.wire.base import UploadReply
from tests.api.serving import SPEC
from tests.api.shipping import sha256_of
from tests.api.test_process import ApiProcess
from tests.bed.proxy import Proxy
from tests.bed.servers import Servers
from tests.bed.waiting import until
from trainyard.retrying import RetryPolicy
from trainyard.settings import ClientSettings
from trainyard.transport import Transport
from trainyard.uploads import describe_file, upload_file

DATA = os.urandom(24 << 20)
SHA = sha256_of(DATA)


@pytest.mark.parametrize("kind", ["folder", "bucket", "sealed folder", "sealed bucket"])
def test_promise_19_an_upload_survives_a_kill_of_the_server(sqlite_url: str, servers: Servers, tmp_path: Path, kind: str) -> None:
    is_sealed = kind.startswith("sealed")
    sealing = {"TRAINYARD_ENCRYPT_AT_REST": "true", "TRAINYARD_MASTER_KEY": "m" * 40} if is_sealed else {}
    api = ApiProcess(sqlite_url, tmp_path, **sealing, **(servers.s3.new_bucket().environment() if "bucket" in kind else {}))
    admin, worker = api.key(), api.key("worker")
    first = api.serve()
    try:
        attempt, lease = claimed(api, admin, worker)
        head = f"PUT {attempt}/blobs/{SHA}?offset=0&size={len(DATA)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += f"Authorization: Bearer {lease}\r\nContent-Length: {len(DATA)}\r\n\r\n"
        sent = 16 << 20
        with socket.create_connection(("127.0.0.1", api.port)) as connection:
            connection.sendall(head.encode() + DATA[:sent])
            staged = tmp_path / "bytes" / ("sealed-staging" if is_sealed else "staging")
            until(lambda: sum(path.stat().st_size for path in staged.iterdir()) > 2 << 20, within=20, what="bytes arrive")
            first.kill9()
    finally:
        first.stop()
    second = api.serve()
    try:
        with httpx2.Client(base_url=api.url, headers={"Authorization": f"Bearer {lease}"}, timeout=30) as http:
            status = http.get(f"{attempt}/blobs/{SHA}/upload").json()
            assert 0 < status["offset"] <= sent
            assert not status["is_complete"]
            rest = http.put(
                f"{attempt}/blobs/{SHA}", params={"offset": status["offset"], "size": len(DATA)}, content=DATA[status["offset"] :]
            )
            assert rest.json() == {"offset": len(DATA), "is_complete": True}
            manifest = {"files": [{"path": "model.pt2", "size": len(DATA), "sha256": SHA}]}
            assert http.post(f"{attempt}/artifacts", json={"manifest": manifest}).status_code == 200
        with api.client(admin) as http:
            job_id = http.get("/v1/jobs").json()["data"][0]["id"]
            assert sha256_of(http.get(f"/v1/jobs/{job_id}/artifacts/model.pt2?direct=false").content) == SHA
    finally:
        second.stop()


def test_promise_19_a_kill_between_the_last_byte_and_the_bucket_loses_nothing(sqlite_url: str, servers: Servers, tmp_path: Path) -> None:
    bucket = servers.s3.new_bucket()
    with Proxy(("127.0.0.1", servers.s3.port)) as slow, ThreadPoolExecutor(1) as pool:
        api = ApiProcess(sqlite_url, tmp_path, **bucket.environment(s3_endpoint=f"http://127.0.0.1:{slow.port}"))
        admin, worker = api.key(), api.key("worker")
        first = api.serve()
        try:
            attempt, lease = claimed(api, admin, worker)
            with slow.under(bytes_per_second=float(1 << 20)):
                whole = {"offset": 0, "size": len(DATA)}
                sending = pool.submit(api.client(lease).put, f"{attempt}/blobs/{SHA}", params=whole, content=DATA)
                until(lambda: slow.num_connections > 0, within=30, what="the object is on its way to the bucket")
                first.kill9()
            with pytest.raises(httpx2.TransportError):
                sending.result(30)
        finally:
            first.stop()
        assert bucket.names() == []
        second = api.serve()
        try:
            with api.client(lease) as http:
                assert http.get(f"{attempt}/blobs/{SHA}/upload").json() == {"offset": len(DATA), "is_complete": False}
                rest = http.put(f"{attempt}/blobs/{SHA}", params={"offset": len(DATA), "size": len(DATA)}, content=b"")
                assert rest.json() == {"offset": len(DATA), "is_complete": True}
        finally:
            second.stop()
        assert sha256_of(bucket.bytes_of(f"sha256/{SHA[:2]}/{SHA[2:4]}/{SHA}")) == SHA


def claimed(api: ApiProcess, admin: str, worker: str) -> tuple[str, str]:
    """The URL and the lease token of a claimed attempt."""
    with api.client(admin) as http:
        assert http.post("/v1/jobs", json=SPEC).status_code == 201
    with api.client(worker) as http:
        devices = [{"index": 0, "name": "cpu slot"}]
        node = {"name": "node-1", "protocol": 1, "version": "0.1.0", "accelerator": "cpu", "devices": devices}
        worker_id = http.post("/v1/worker/register", json=node).json()["worker_id"]
        claim = http.post("/v1/worker/claim", json={"worker_id": worker_id, "devices": [0]}).json()
    return f"/v1/worker/attempts/{claim['attempt_id']}", claim["lease_token"]


def test_promise_19_a_client_goes_on_by_itself_when_the_server_was_killed(sqlite_url: str, tmp_path: Path) -> None:
    api = ApiProcess(sqlite_url, tmp_path)
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    described = describe_file(path, "data.bin")
    first = api.serve()
    heard: list[int] = []
    patient = RetryPolicy(max_tries=100, longest_delay=0.5)
    with (
        closing(Transport(ClientSettings(url=api.url, api_key=api.key("submit")), retry=patient)) as transport,
        ThreadPoolExecutor(1) as pool,
    ):
        staged = tmp_path / "bytes" / "staging"
        uploading = pool.submit(upload_file, transport, path, described, heard.append)
        until(lambda: sum(part.stat().st_size for part in staged.iterdir()) > 1 << 20, within=20, what="bytes arrive")
        first.kill9()
        first.stop()
        second = api.serve()
        try:
            uploading.result(timeout=60)
            held = transport.get(UploadReply, f"/v1/uploads/{SHA}")
        finally:
            second.stop()
    assert held.is_complete
    assert heard[0] == 0
    assert any(0 < offset < len(DATA) for offset in heard), "the second request went on where the first had broken off"
